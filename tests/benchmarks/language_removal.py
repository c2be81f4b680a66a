"""How many groups the removal test passes on made languages, where every token's skill is known.

    PYTHONPATH=workflow OMP_NUM_THREADS=1 python tests/benchmarks/language_removal.py [--languages 0 1] [--half-tokens 8 30]

Takes the first net of each made language and `--each` tokens of every skill that it has learned. The groups are the true skills,
two clusterings of the same tokens at the true number of clusters (the paper's, and the best of the known skills), equal targets,
equal bigrams, and random groups. They are halved, removed (by the gradient, and by noise) and scored by the functions of the stage
`interventions`. Languages without nets in resources/known_skills have theirs in the folder `--nets`. Prints a row per language, length of the halves, kind,
halving and grouping, and writes them to `docs/results/language-removal/counts.csv`. About seven CPU minutes per language.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from quanta.affinity import cosine
from quanta.corpus import encoding
from quanta.gradients import parameter_sets
from quanta.interventions import direction, groups, halves, removal, scores
from quanta.known_skills import affinities, assignments, language, language_set

ROOT = Path(__file__).parents[2]
SHIPPED, OUT = ROOT / "resources/known_skills", ROOT / "docs/results/language-removal/counts.csv"
SKILLS, PAPER, BEST = "skills", "cosine, angular", "√|g|, first attention, neighbours"
NATS, TOLERANCE, EVALUATIONS, OTHERS, DRAWS, REFERENCE = 2.0, 0.05, 12, 10_000, 1, 256
# OTHERS is so large that all tokens outside are looked at


def samples(made, net, each):
    """Tokens of known skills of one net: the evidence, a bench, and the groupings by name as labels."""
    step = max(net[0])
    found = language_set.evidence(made, net, each)
    model = language_set.net(net[0][step], 0)
    places = language_set.sample(made, [model], each)
    tokens = encoding.as_tokens(places.texts.ids.tolist())
    document, position = places.documents, places.positions
    n_skills = found.n_skills
    labels = {
        SKILLS: found.skills,
        PAPER: assignments.angular(affinities.AFFINITIES["cosine"](found), [n_skills], 0)[n_skills],
        BEST: assignments.neighbours(affinities.AFFINITIES["√|g|, first attention"](found), [n_skills], 0)[n_skills],
    }
    bench = removal.Bench(
        model, tokens, parameter_sets.parameter_set(model), document, position, found.surface["target"],
        found.surface["bigram"], np.zeros(len(document)), cosine.lengths(found.views[0].gradients), 4096,
    )  # fmt: skip
    bench.losses[:] = bench.contexts(np.arange(len(document))).losses(model)
    return bench, labels


def every_group(bench, labels):
    """The groups of all groupings, as the stage makes them."""
    found = [group for name, label in labels.items() for group in groups.of_labels(name, label, least=8)]
    skills = [group for group in found if group.grouping == SKILLS]
    bigram = np.unique(bench.bigram, return_inverse=True)[1]
    found += groups.of_labels(groups.TARGET, bench.target, least=8)
    found += groups.some(groups.of_labels(groups.BIGRAM, bigram, least=8), 16)
    return found + groups.some(groups.random_like(skills, len(bench.document), seed=0), 16)


def removals(bench, found, half_tokens, nats):
    """A row per group, kind and halving, with its shares and whether it is removed alone (`scores.table`)."""
    halved = groups.table(
        found, bench.document, bench.position, bench.bigram, half_tokens=half_tokens,
        no_bigram=[SKILLS, PAPER, BEST, groups.TARGET, groups.RANDOM], seed=0,
    )  # fmt: skip
    cases = groups.cases(halved, {(group.grouping, group.number): group.tokens for group in found})
    every = np.arange(len(bench.document))
    none = np.empty(0, dtype=np.int64)
    panel = removal.Panel(every, (none, none), bench.losses, bench.contexts(every))
    how = {"nats": nats, "tolerance": TOLERANCE, "evaluations": EVALUATIONS, "others": OTHERS}
    done = [removal.remove(bench, case, panel, **how) for case in cases]
    few = np.random.default_rng(0).choice(every, REFERENCE, replace=False)
    usage = direction.Usage.of(
        bench.model, bench.tokens, bench.chosen, bench.document[few], bench.position[few], batch_tokens=4096
    )
    whole = [case for case in cases if case.halving == halves.DOCUMENTS]
    done += [removal.disturb(bench, case, panel, usage, draws=DRAWS, seed=0, **how) for case in whole]
    named = {(case.group.grouping, case.group.number, case.halving): case for case in cases}
    return scores.table(*removal.as_tables(done), named, bench.target, bench.bigram, {}, seed=0)


def counted(table):
    """A row per kind, halving and grouping: groups with such halves, how many are removed alone, and medians of the shares."""
    own = table[table["first"] > 0].assign(alone=lambda rows: rows["alone"] == True)  # noqa: E712 (true, false or empty)
    found = own.groupby(["kind", "halving", "grouping"], sort=False).agg(
        groups=("group", "size"), reached=("reached", "sum"), alone=("alone", "sum"), other=(groups.OTHER, "median"),
        target=(groups.SAME_TARGET, "median"), all_else=(scores.ELSE, "median"), tokens=("first", "median"),
    )  # fmt: skip
    return found.reset_index()


def main():
    """Print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--languages", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--half-tokens", type=int, nargs="+", default=[8, 30])
    parser.add_argument("--each", type=int, default=60)
    parser.add_argument("--nats", type=float, default=NATS)
    parser.add_argument("--nets", type=Path, default=ROOT / "results/known-skills/known_skills/nets")
    parser.add_argument("--out", type=Path, default=OUT)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    found = []
    for seed in arguments.languages:
        name = f"language-{seed}.npz"
        nets = language_set.read((SHIPPED if (SHIPPED / name).is_file() else arguments.nets) / name)
        bench, labels = samples(language.Language(seed), {0: nets[0]}, arguments.each)
        every = every_group(bench, labels)
        for half_tokens in arguments.half_tokens:
            rows = counted(removals(bench, every, half_tokens, arguments.nats))
            found.append(rows.assign(language=seed, half_tokens=half_tokens))
            print(found[-1].round(3).to_string(), flush=True)
    whole = pd.concat(found)[["language", "half_tokens", *found[0].columns[:-2]]]
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    whole.round(4).to_csv(arguments.out, index=False)


if __name__ == "__main__":
    main()
