"""Print the best clusters of a run, with tokens in context, as Markdown.

    PYTHONPATH=workflow python docs/results/real-models/best.py results/RUN [N_CLUSTERS] > best.md

Best is the product of the held-out F1 of the rule, the mean cosine within, and the stability over halves of the texts, for clusters
of six tokens or more. Each commonest target comes once. Five tokens are shown, evenly spread. The target is between ▸ and ◂.
"""

import sys

import quanta
from quanta.arrays import evenly
from quanta.catalogue import naming

NUMBER, FEWEST, TOKENS, BEFORE, AFTER = 20, 6, 5, 60, 20


def shown(text: str) -> str:
    """One line that Markdown leaves as it is."""
    return text.replace("\n", "⏎").replace("\t", "⇥").replace("`", "ˋ")


def main() -> None:
    run = quanta.load(sys.argv[1])
    k = int(sys.argv[2]) if len(sys.argv) > 2 else int(run.fits.qdg.get("show", 100))
    table = run.descriptions.merge(run.contexts.drop(columns="size"), on=["n_clusters", "label"])
    table = table[(table["n_clusters"] == k) & (table["size"] >= FEWEST)]
    precision, recall = table["precision_held_out"].fillna(0), table["recall_held_out"].fillna(0)
    f1 = 2 * precision * recall / (precision + recall).clip(lower=1e-12)
    table["score"] = f1 * table["cosine_within"] * table["stability_halves"]
    best = table.sort_values(["score", "size"], ascending=False).drop_duplicates("target").head(NUMBER)
    for place, row in enumerate(best.to_dict("records"), 1):
        inside = run.cluster(k, row["label"])
        print(f"**{place}. {shown(naming.in_words(run.descriptions, k, row['label']))}**  ")
        print(
            f"{len(inside)} tokens; precision {row['precision_held_out']:.2f}, recall {row['recall_held_out']:.2f} on other texts; "
            f"commonest target {row['purity_target']:.0%}, bigram {row['purity_bigram']:.0%}; "
            f"mean cosine {row['cosine_within']:.2f}; stability {row['stability_halves']:.2f}\n"
        )
        print("```")
        for index in evenly(len(inside), TOKENS):
            one = inside.iloc[index]
            print(f"{shown(one['before'])[-BEFORE:]}▸{shown(one['target'])}◂{shown(one['after'])[:AFTER]}")
        print("```\n")


if __name__ == "__main__":
    main()
