"""Whether the tests see a wrong line: mutants of the ten functions that the results rest on.

    python tests/mutations.py                          # all, one to two hours on two cores
    python tests/mutations.py spectral.embedding Fold  # those whose name holds one of these words
    python tests/mutations.py --list

Each mutation is one place of the text, replaced in a copy of the package that the tests are run on. It is killed if a
test fails, and survives if none does. A mutation that changes no result is marked as equivalent, with the reason, and is not run.
The table is in docs/promises.md. `tests/test_mutations.py` checks that each text is still in the code, once.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "workflow/quanta"


@dataclass(frozen=True)
class Mutation:
    """One wrong line: `old` becomes `new`. `equivalent` says why no result changes; `module`, where it is not the function's."""

    what: str
    old: str
    new: str
    equivalent: str = ""
    module: str = ""


@dataclass(frozen=True)
class Function:
    """What is mutated, in which module, and the tests that are to see it."""

    name: str
    module: str
    tests: tuple[str, ...]
    mutations: tuple[Mutation, ...]
    only: str = ""  # pytest's -k, where few tests of long files are meant

    def module_of(self, mutation: Mutation) -> str:
        return mutation.module or self.module

    def mutant(self, mutation: Mutation) -> str:
        """The module's text with the mutation.

        Raises:
            ValueError: its old text is not in the module, or more than once.
        """
        module = self.module_of(mutation)
        text = (PACKAGE / module).read_text(encoding="utf-8")
        if (count := text.count(mutation.old)) != 1:
            raise ValueError(f"{self.name}, {mutation.what!r}: {mutation.old!r} is {count} times in {module}")
        return text.replace(mutation.old, mutation.new)


M = Mutation
FUNCTIONS = (
    Function(
        "losses.token_losses",
        "losses/forward.py",
        ("losses/test_losses.py",),
        (
            M("targets one earlier", "hidden[real], ids[:, 1:][real]", "hidden[real], ids[:, :-1][real]"),
            M(
                "bits for nats",
                'targets[begin : begin + step], reduction="none")',
                'targets[begin : begin + step], reduction="none") / 0.6931',
            ),
            M(
                "written one place earlier",
                "losses[begin + 1 : begin + lengths[index]] = row",
                "losses[begin : begin + lengths[index] - 1] = row",
            ),
            M(
                "rows go to the batch's documents backwards",
                "strict=True):\n            begin = int(",
                "strict=True):\n            index = batch[-1 - list(batch).index(index)] if lengths[batch[-1 - list(batch).index(index)]] == lengths[index] else index\n            begin = int(",
            ),
            M(
                "attention sees the target",
                "batching.read(ids[:, :-1], beginning)",
                "batching.read(ids[:, 1:], beginning)",
            ),
            M("one real position too few", "< (lengths - 1)[:, None]", "< (lengths - 2)[:, None]"),
            M(
                "documents of two tokens left out",
                "batch = batch[lengths[batch] > 1]",
                "batch = batch[lengths[batch] > 2]",
            ),
            M(
                "cross-entropy in the products' precision",
                "logits.float(), targets",
                "logits.to(torch.bfloat16), targets",
            ),
            M(
                "bfloat16 never",
                'enabled=precision == "bfloat16"):\n        hidden',
                "enabled=False):\n        hidden",
            ),
            M(
                "last piece of the logits left out",
                "for begin in range(0, len(state), step):",
                "for begin in range(0, max(len(state) - step, 1), step):",
            ),
            M(
                "a shard's documents counted from the corpus's first",
                "tokens.document(documents.start + int(i)) for i in batch]",
                "tokens.document(int(i)) for i in batch]",
            ),
            M(
                "shards cut at any document",
                "blocks * index // shards * BLOCK, n), min(",
                "n * index // shards, n), min(",
                module="losses/batching.py",
            ),
            M(
                "every second block left out",
                "for first in range(0, len(lengths), BLOCK):",
                "for first in range(0, len(lengths), 2 * BLOCK):",
                module="losses/batching.py",
            ),
            M(
                "values of padding not set apart",
                "losses = np.full(int(tokens.offsets[documents.stop] - first), np.nan",
                "losses = np.full(int(tokens.offsets[documents.stop] - first), 0",
            ),
        ),
    ),
    Function(
        "gradients.token_gradients",
        "gradients/engine.py",
        ("gradients/test_gradients.py", "clustering/test_qdg.py"),
        (
            M(
                "target one position later",
                "torch.as_tensor(positions[samples] - 1",
                "torch.as_tensor(positions[samples].clip(max=1)",
            ),
            M("id of the token before", "[positions[i]]) for i in samples]", "[positions[i] - 1]) for i in samples]"),
            M("mean loss for the sum", "loss.sum().backward()", "loss.mean().backward()"),
            M("dropout left on", "model.train(False).requires_grad_(False)", "model.requires_grad_(False)"),
            M("model left without gradients", "parameter.requires_grad_(want)", "pass"),
            M(
                "rows in the order of computing",
                "result[samples] = found.cpu().numpy()",
                "result[: len(samples)] = found.cpu().numpy()",
                module="gradients/token_gradients.py",
            ),
            M(
                "losses in the order of computing",
                "losses[samples] = nats\n            drawn",
                "losses[: len(samples)] = nats\n            drawn",
                module="gradients/token_gradients.py",
            ),
            M(
                "seed not handed on",
                "features=features, seed=seed, parameters=parameters, precision=precision)\n    # numpy",
                "features=features, seed=0, parameters=parameters, precision=precision)\n    # numpy",
                module="gradients/token_gradients.py",
            ),
            M(
                "parameter set not handed on",
                "seed=seed, parameters=parameters, precision=precision)\n    # numpy",
                "seed=seed, precision=precision)\n    # numpy",
                module="gradients/token_gradients.py",
            ),
            M("first tokens are taken as targets", "(positions < 1)", "(positions < 0)"),
            M(
                "not finite goes unsaid",
                'if len(wrong):\n        i = wrong[0]\n        raise QuantaError(\n            f"gradient of',
                'if False:\n        i = wrong[0]\n        raise QuantaError(\n            f"gradient of',
            ),
            M(
                "rest of a batch lost when memory ends",
                "waiting = [Batch(p, np.arange(len(p)), documents[p], positions[p]) for p in parts] + waiting",
                "waiting = [Batch(p, np.arange(len(p)), documents[p], positions[p]) for p in parts[:1]] + waiting",
            ),
            M(
                "bfloat16 never",
                'self.dtype = torch.bfloat16 if self.precision == "bfloat16" else torch.float32',
                "self.dtype = torch.float32",
            ),
            M(
                "documents padded to the wrong length",
                "[self.tokens.document(int(d))[:n] for d, n in",
                "[self.tokens.document(int(d))[: n + 1] for d, n in",
                "one more position after the last target: attention is causal",
            ),
        ),
    ),
    Function(
        "folding.Fold",
        "gradients/sign_fold.py",
        ("gradients/test_gradients.py",),
        (
            M("no signs", "return left * rows.to(left.dtype), right * columns.to(right.dtype)", "return left, right"),
            M(
                "no signs of columns",
                "return left * rows.to(left.dtype), right * columns.to(right.dtype)",
                "return left * rows.to(left.dtype), right",
            ),
            M(
                "loop: no signs",
                "a, b = self._signed(matrix, left[i, :n], right[i, :n])",
                "a, b = left[i, :n], right[i, :n]",
            ),
            M(
                "loop: last position of every sample left out",
                "a, b = self._signed(matrix, left[i, :n], right[i, :n])",
                "a, b = self._signed(matrix, left[i, : max(n - 1, 1)], right[i, : max(n - 1, 1)])",
            ),
            M(
                "loop: written over, not added",
                "addmm_(a[:, p.first : p.last].T, b, beta=beta)",
                "addmm_(a[:, p.first : p.last].T, b, beta=0)",
            ),
            M(
                "batched: written over, not added",
                "baddbmm_(left[:, p.first : p.last], right, beta=beta)",
                "baddbmm_(left[:, p.first : p.last], right, beta=0)",
            ),
            M("no wrap at the end", "buffer[:, : self.length - k] += buffer[:, k : self.length]", "pass"),
            M("stride not prime to k", "while k < parameters.count and math.gcd(stride, k) > 1:", "while False:"),
            M("all matrices begin at 0", "start += m.rows * stride", "start += 0"),
            M(
                "pieces begin one row too far",
                "(start + first * stride) % k, stride",
                "(start + (first + 1) * stride) % k, stride",
            ),
            M(
                "same signs for all seeds",
                "rng = generator(seed, Purpose.SIGN_FOLD)",
                "rng = generator(0, Purpose.SIGN_FOLD)",
            ),
            M("all signs positive", "rng.integers(0, 2, size=n).astype(np.float32) * 2 - 1", "np.ones(n, np.float32)"),
            M(
                "no signs of vectors",
                "vectors * self._vector_signs, self._vectors_start",
                "vectors, self._vectors_start",
            ),
            M("vectors begin at 0", "self._vectors_start = start", "self._vectors_start = 0"),
            M(
                "a wide product ends early",
                "into += torch.nn.functional.pad(values, (before, whole - before - n)).view(len(values), -1, k).sum(1)",
                "into += torch.nn.functional.pad(values, (before, whole - before - n)).view(len(values), -1, k)[:, 0]",
            ),
        ),
        only="sketch or signed_sums or fold or crossed or seeds_differ or shards_gives",
    ),
    Function(
        "affinity.cosine",
        "affinity/cosine.py",
        ("affinity/test_affinity.py", "clustering/test_qdg.py"),
        (
            M(
                "a block not scaled",
                "return read(begin, end).mul_(scale[begin:end, None])",
                "return read(begin, end).mul_(scale[begin:end, None] if begin else 1)",
            ),
            M("scaled by the square", "torch.from_numpy(1 / np.sqrt(squares))", "torch.from_numpy(1 / squares)"),
            M(
                "norms in float32",
                'sums = [np.einsum("ij,ij->i", shard, shard, dtype=np.float64) for shard in shards]',
                'sums = [np.einsum("ij,ij->i", shard, shard, dtype=np.float32).astype(float) for shard in shards]',
            ),
            M("no clamp", "(left @ right.T).clamp_(-1, 1)", "(left @ right.T)"),
            M(
                "tile not transposed",
                "out[j : j + block, i : i + block] = tile.T",
                "out[j : j + block, i : i + block] = tile[: len(right), : len(left)] if tile.shape[0] == tile.shape[1] else tile.T",
            ),
            M("upper half left out", "out[j : j + block, i : i + block] = tile.T", "pass"),
            M(
                "diagonal as it is computed",
                "np.fill_diagonal(tile, 1)\n                progress",
                "np.fill_diagonal(tile, np.einsum('ij,ij->i', left.numpy(), left.numpy()))\n                progress",
            ),
            M(
                "diagonal tile not symmetric",
                "tile = np.tril(tile, -1)\n                tile += tile.T",
                "tile = tile * (1 + 1e-6 * np.tri(len(tile)))",
            ),
            M("shards end one row early", "max(end - low, 0)] for low", "max(end - low - 1, 0)] for low"),
            M(
                "the last block of columns left out",
                "for j in range(0, i + 1, block):",
                "for j in range(0, max(i, 1), block):",
            ),
            M(
                "zero gradients pass",
                "squares = np.concatenate([*sums, np.empty(0)])\n    check_squares(squares)",
                "squares = np.concatenate([*sums, np.empty(0)])",
            ),
            M(
                "smallest block of one row",
                "16, 4096))",
                "1, 4096))",
                "a block alters memory and time; test_cosine_is_that_of_float64 has several",
            ),
        ),
    ),
    Function(
        "spectral.embedding",
        "clustering/spectral.py",
        ("clustering/test_spectral.py",),
        (
            M("diagonal kept", "np.fill_diagonal(similarity, 0)", "pass"),
            M("D⁻¹ for D⁻½", "root = np.sqrt(degree)", "root = degree"),
            M("rows alone scaled", "similarity /= root[None, :]", "similarity /= 1"),
            M("smallest eigenvectors", "subset_by_index=[n - k, n - 1]", "subset_by_index=[0, k - 1]"),
            M("eigenvalues rising", "values, vectors = values[::-1], vectors[:, ::-1]", "pass"),
            M("signs not settled", "return _settle_signs(vectors), values", "return -_settle_signs(vectors), values"),
            M("an unconnected graph passes", "if k > 1 and values[1] > 1 - 1e-10:", "if False:"),
            M(
                "rows not over √degree",
                "return np.asarray(vectors / vectors[:, :1])",
                "return np.asarray(vectors)",
                module="clustering/assignment.py",
            ),
            M(
                "rows over the degree",
                "return np.asarray(vectors / vectors[:, :1])",
                "return np.asarray(vectors / vectors[:, :1] ** 2)",
                module="clustering/assignment.py",
            ),
            M(
                "the first eigenvector dropped",
                "points = scaled[:, :k] if",
                "points = scaled[:, 1:k] if",
                equivalent="over the root of the degree the first one is the same for all tokens",
                module="clustering/assignment.py",
            ),
            M(
                "labels by rising size",
                "order = np.lexsort((first, -sizes))",
                "order = np.lexsort((first, sizes))",
                module="clustering/membership.py",
            ),
            M(
                "equal sizes in any order",
                "order = np.lexsort((first, -sizes))",
                "order = np.lexsort((-first, -sizes))",
                module="clustering/membership.py",
            ),
        ),
    ),
    Function(
        "kmeans.sweep",
        "clustering/kmeans.py",
        ("clustering/test_kmeans.py",),
        (
            M(
                "stale distances",
                "self.scores[:, moved] = self._columns(self.centres[moved])",
                "self.scores[:, moved[1:]] = self._columns(self.centres[moved[1:]])",
            ),
            M("empty clusters stay empty", "if len(gone):", "if False:"),
            M("breathing does nothing", "state.breathe(rng, rounds if k > 1 else 0)", "pass"),
            M("a breath is never undone", "if now < best * (1 - 1e-6):", "if True:"),
            M("wrong sign of usefulness", "weights=(second - own)", "weights=(own - second)"),
            M(
                "centres added where the error is least",
                "worst = np.argsort(-self.errors()",
                "worst = np.argsort(self.errors()",
            ),
            M("two stand-ins dropped at once", "if int(cluster) in barred:", "if False:"),
            M(
                "the last start, not the best",
                "if (now := float(state.nearest.sum())) < best:",
                "if (now := float(state.nearest.sum())) < np.inf:",
            ),
            M("no start from the k before", "if start == fresh and labels is not None:", "if False:"),
            M(
                "points drawn evenly for k-means++",
                "np.cumsum(np.where(apart, self.nearest, 0) if len(self.centres)",
                "np.cumsum(np.where(apart, 1, 0) if len(self.centres)",
            ),
            M("Lloyd stops at the first step", "if before - now < tolerance * now:", "if True:"),
            M("centres of the labels before", "state._to_means(np.arange(k))\n", "\n"),
            M(
                "inertia not of the means",
                "inertia = float(((state.points - state.centres[labels]) ** 2).sum())",
                "inertia = float(state.nearest.sum())",
            ),
        ),
    ),
    Function(
        "zipf.envelope, slope, interval",
        "rank_frequency/zipf.py",
        ("rank_frequency/test_zipf.py", "clustering/test_qdg.py"),
        (
            M(
                "last rank left out",
                "ranks = np.arange(first, last + 1)\n    return float(log_log_fit(ranks, curve[first - 1 : last])[0])",
                "ranks = np.arange(first, last)\n    return float(log_log_fit(ranks, curve[first - 1 : last - 1])[0])",
            ),
            M("ranks from 0", "(ranks, curve[first - 1 : last])", "(ranks, curve[first : last + 1])"),
            M(
                "decades for the abscissa",
                "log_log_fit(ranks, curve",
                "log_log_fit(np.exp(np.log10(ranks)), curve",
            ),
            M(
                "the smallest size at each rank",
                "np.maximum(top[: len(curve)], curve, out=top[: len(curve)])\n    return top",
                "top[: len(curve)] = curve\n    return top",
            ),
            M("sizes rising", "return_counts=True)[1])[::-1]", "return_counts=True)[1])"),
            M(
                "range of ranks one off",
                "return max(round(shares[0] * n_tokens), 1)",
                "return max(round(shares[0] * n_tokens) + 1, 1)",
            ),
            M("interval ten times narrower", "reach_out = ERRORS_90 *", "reach_out = 0.1 * ERRORS_90 *"),
            M("interval ten times wider", "reach_out = ERRORS_90 *", "reach_out = 16.45 *"),
            M(
                "one K instead of the envelope",
                'curve = envelope([sizes(part["label"].to_numpy()) for _, part in labels.groupby("n_clusters")])',
                'curve = sizes(labels[labels["n_clusters"] == labels["n_clusters"].max()]["label"].to_numpy())',
            ),
            M("the null from the clusters", "null = sizes(identity)", "null = curve"),
            M("all in one cluster goes unsaid", 'if labels["label"].max() == 0:', "if False:"),
        ),
    ),
    Function(
        "scaling.power_law, interval",
        "scaling/mean_loss.py",
        ("scaling/test_scaling.py",),
        (
            M(
                "sign of α",
                "return float(-gradient), float(np.exp(constant))",
                "return float(gradient), float(np.exp(constant))",
            ),
            M(
                "decades",
                "log_log_fit(sizes, losses)",
                "log_log_fit(np.exp(np.log10(sizes)), losses)",
            ),
            M("A in log", "float(np.exp(constant))", "float(constant)"),
            M("a model that is left out is used", "if name not in left_out]\n", "if name]\n"),
            M(
                "interval three times as wide",
                "return [float(q) for q in np.quantile(draws, ENDS_90)]",
                "low, high = np.quantile(draws, ENDS_90)\n    return [float(2 * low - high), float(2 * high - low)]",
            ),
            M("interval of 50 %", "np.quantile(draws, ENDS_90)]", "np.quantile(draws, [0.25, 0.75])]"),
            M("interval of one side", "np.quantile(draws, ENDS_90)]", "np.quantile(draws, [0.5, 0.95])]"),
            M("band turned over", "along), ENDS_90", "along), [0.95, 0.05]"),
            M("the first search for a floor, not the best", "if best is None or error < best[0]:", "if best is None:"),
            M(
                "floor left out of the model",
                "return np.asarray(np.log(floor + np.exp(log_a) * n**-alpha))",
                "return np.asarray(np.log(0 * floor + np.exp(log_a) * n**-alpha))",
            ),
            M("floor from three models", "> 3 else None", "> 2 else None"),
        ),
    ),
    Function(
        "selection.select, induction",
        "gradients/selection.py",
        ("gradients/test_selection.py",),
        (
            M("a trigram closes itself", "closes[2 + first] = False", "pass"),
            M("bigrams", "(ids[:-2] << np.uint64(42)) | (ids[1:-1]", "(ids[1:-1]"),
            M("closing one place early", "closes[2 + first] = False", "closes[1 + first] = False"),
            M("large ids mixed up", "np.uint64(21)) | ids[2:]", "np.uint64(20)) | ids[2:]"),
            M(
                "documents of three tokens close trigrams",
                "if len(ids) < 4:",
                "if len(ids) < 3:",
                "a document of three tokens has one trigram, which is its first",
            ),
            M("above the threshold", "np.flatnonzero(losses < threshold)", "np.flatnonzero(losses > threshold)"),
            M("at the threshold, too", "np.flatnonzero(losses < threshold)", "np.flatnonzero(losses <= threshold)"),
            M(
                "the first ones, not spread evenly",
                "evenly(len(kept), limit)",
                "evenly(limit, limit)",
            ),
            M("spread off by one", "evenly(len(kept), limit)", "evenly(len(kept) - 1, limit)"),
            M("induction kept where it is to go", "kept = low if keep_induction else low[~copied]", "kept = low"),
            M(
                "induction alone kept",
                "low if keep_induction else low[~copied]",
                "low if keep_induction else low[copied]",
            ),
            M(
                "many candidates: one document short",
                "np.searchsorted(document, [index, index + 1])",
                "np.searchsorted(document, [index, index + 1]) - [0, 1]",
            ),
            M("losses of other tokens", '"loss_nats": losses[chosen],', '"loss_nats": losses[low[: len(chosen)]],'),
        ),
    ),
    Function(
        "calibration.infer",
        "calibration/regression.py",
        ("calibration/test_calibration.py",),
        (
            M(
                "sign of the error flipped",
                "self.error = self.alpha - self.out_of_fold",
                "self.error = self.out_of_fold - self.alpha",
            ),
            M("level ignored", "[(1 - level) / 2, (1 + level) / 2])", "[0.005, 0.995])"),
            M("interval of one side", "[(1 - level) / 2, (1 + level) / 2])", "[0.5, (1 + level) / 2])"),
            M(
                "farthest neighbours",
                "np.argsort(np.abs(self.out_of_fold - guess)",
                "np.argsort(-np.abs(self.out_of_fold - guess)",
            ),
            M("neighbours from all over", "[: max(len(self.alpha) // 8, 40)]", "[: len(self.alpha)]"),
            M(
                "errors not scaled by the data's spread",
                "self.scaled_error[rest] = self.error[rest] /",
                "self.scaled_error[rest] = self.error[rest] / 2 /",
            ),
            M("never wide", "elif high - low > TELLS * width:", "elif False:"),
            M("always wide", "elif high - low > TELLS * width:", "elif True:"),
            M("low end for the value", "float(np.median(drawn))", "float(np.quantile(drawn, 0.05))"),
            M(
                "beyond the prior",
                '* self.scaled_error[near], *planted.PRIOR["alpha"])',
                "* self.scaled_error[near], -9, 9)",
            ),
            M("coverage by the value alone", '"covered": low <= alpha <= high,', '"covered": low <= alpha,'),
        ),
    ),
)


def run(function: Function, mutation: Mutation, folder: Path) -> str:
    """`killed` with the test that saw it, or `survived`."""
    package = folder / "quanta"
    shutil.copytree(PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__"))
    (package / function.module_of(mutation)).write_text(function.mutant(mutation), encoding="utf-8")
    # a path set in pyproject.toml would come before PYTHONPATH
    paths = [str(folder), str(ROOT / "tests"), str(ROOT / "tests/slurm")]
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-x", "-q", "--no-header", "-p", "no:cacheprovider"),
            *(("-k", function.only) if function.only else ()),
            *("-o", "pythonpath=" + " ".join(paths)),
            *(str(ROOT / "tests" / name) for name in function.tests),
        ],
        cwd=ROOT, capture_output=True, text=True,
        env=os.environ | {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    if done.returncode == 0:
        return "**survived**"
    failed = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    if done.returncode != 1 or not failed:
        raise RuntimeError(done.stdout[-3000:] + done.stderr[-3000:])
    return "killed by `" + failed[0].split("::")[-1].split(" - ")[0].split("[")[0] + "`"


def main() -> None:
    """Print the table, a row for each mutation, as it is found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("words", nargs="*", help="functions whose name holds one of these; all without")
    parser.add_argument("--list", action="store_true", help="print the mutations without running any test")
    parser.add_argument("--what", help="only mutations whose description holds this")
    arguments = parser.parse_args()
    chosen = [f for f in FUNCTIONS if not arguments.words or any(word in f.name for word in arguments.words)]
    killed = number = 0
    print("| function | mutation | found |\n|---|---|---|")
    for function in chosen:
        for mutation in function.mutations:
            if arguments.what and arguments.what not in mutation.what:
                continue
            if mutation.equivalent or arguments.list:
                found = f"equivalent: {mutation.equivalent}" if mutation.equivalent else ""
            else:
                with tempfile.TemporaryDirectory() as folder:
                    found = run(function, mutation, Path(folder))
                number += 1
                killed += found.startswith("killed")
            print(f"| {function.name} | {mutation.what} | {found} |", flush=True)
    if number:
        print(f"\n{killed} of {number} killed ({100 * killed / number:.0f} %).")


if __name__ == "__main__":
    main()
