"""Results: a finished or unfinished run as a notebook wants it, read when it is asked for. No torch.

`quanta.load("results/mini")` gives a `Run`; print it to see what it has. results/README.md says what is in the files.
"""

import difflib
from collections.abc import Callable, Iterable
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar, overload

import numpy as np
import pandas as pd

from quanta.arrays import Array, Float32
from quanta.catalogue import contexts
from quanta.corpus.decoding import Texts
from quanta.corpus.encoding import Tokens, load_tokens
from quanta.corpus.vocabulary import load_tokenizer
from quanta.errors import QuantaError
from quanta.storage import files

T = TypeVar("T")


class Result(Generic[T]):
    """One file of the results tree as an attribute: read on first use, then kept (`del` reads it anew)."""

    def __init__(self, path: str, what: str, read: Callable[[Path], T]) -> None:
        self.path, self.what, self._read = path, what, read

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, run: None, owner: type) -> "Result[T]": ...
    @overload
    def __get__(self, run: Any, owner: type) -> T: ...
    def __get__(self, run: Any, owner: type) -> "Result[T] | T":
        if run is None:
            return self
        # from now on found in the instance, before this descriptor
        value = run.__dict__[self.name] = self._read(_made(run.folder, self.path, self.what))
        return value


def _table(path: str, what: str) -> Result[pd.DataFrame]:
    return Result(path, what, files.read_table)


def _json(path: str, what: str) -> Result[dict[str, Any]]:
    return Result(path, what, files.read_json)


def _array(path: str, what: str, dtype: str, dimensions: int = 2) -> Result[Array]:
    return Result(path, what, lambda file: files.read_array(file, dtype=dtype, shape=(None,) * dimensions))


def _made(folder: Path, path: str, what: str) -> Path:
    file = folder / path
    if not file.exists():
        # as Snakemake names it, from the repository
        parts = file.absolute().parts
        target = "/".join(parts[len(parts) - 1 - parts[::-1].index("results") :]) if "results" in parts else file
        raise QuantaError(
            str(file),
            "this run has not made it",
            what,
            f"run the pipeline up to it, with this run's configuration: snakemake --cores all {target}",
        )
    return file


def _unknown(where: str, found: Any, known: Iterable[Any]) -> QuantaError:
    names = [str(one) for one in known]
    near = difflib.get_close_matches(str(found), names, n=1, cutoff=0.3)
    mend = f"write {near[0]}" if near else "choose one of them"
    return QuantaError(where, f"{found!r}", f"one of {', '.join(names) or 'none: this run has none'}", mend)


def _outside(where: str, found: int, number: int) -> QuantaError:
    return QuantaError(where, str(found), f"0 to {number - 1}", "choose a number in this range")


class Context(NamedTuple):
    """A token in its document: text before it (64 tokens), its own, and after it (16 tokens). Printed as one string."""

    before: str
    target: str
    after: str

    def __str__(self) -> str:
        return f"{self.before}▸{self.target}◂{self.after}"


class Figure:
    """A figure of the report: a notebook shows its picture. `data` is what it draws, `pdf` and `png` are its files."""

    def __init__(self, folder: Path, name: str) -> None:
        self.name, self.png, self.pdf = name, folder / f"{name}.png", folder / f"{name}.pdf"
        self._csv = folder / f"{name}.csv"

    @cached_property
    def data(self) -> pd.DataFrame:
        """Numbers that the figure draws."""
        return files.read_table(self._csv)

    def _repr_png_(self) -> bytes:
        return self.png.read_bytes()

    def __repr__(self) -> str:
        return f"figure {self.name}: {self.png}"


class Fits:
    """Fitted numbers by stage: value, interval, method, points used."""

    scaling = _json("scaling/fits.json", "α_N with and without an irreducible loss")
    qdg = _json("qdg/fits.json", "envelope slope, its null, calibrated α, α by collisions, coverage")
    calibration = _json("calibration/fits.json", "calibrated α of the data, with its verdict")
    theory = _json("theory/fits.json", "published exponents against the theory")
    parity = _json("parity/fits.json", "exponents and convergence on sparse parity")

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __repr__(self) -> str:
        return _listed(self, "fits of ")


class Run:
    """Results of one run. Every attribute reads its file on first use, tables as frames and arrays as memory maps.

    Raises:
        QuantaError: on opening, that there is no such run; later, that the run has not made what is asked for.
    """

    family = _table("models/family.csv", "models and steps, with their parameters")
    documents = _table("corpus/documents.parquet", "held-out documents with their sources")
    mean_loss = _table("scaling/mean_loss.csv", "mean loss of every model and step, nats")
    density = _table("scaling/density.parquet", "densities of token losses, bits")
    token_curves = _table("scaling/tokens_by_size.parquet", "tokens by how their loss falls over model sizes")
    tokens = _table("qdg/tokens.parquet", "selected tokens: document, position, token id, loss")
    labels = _table("qdg/labels.parquet", "label of every token in every clustering")
    rank_frequency = _table("qdg/rank_frequency.csv", "cluster sizes by rank; the envelope has n_clusters = 0")
    descriptions = _table("qdg/descriptions.parquet", "a rule over the contexts of every cluster")
    contexts = _table("qdg/clusters.parquet", "purity, skill and stability of every cluster")
    tree = _table("qdg/tree.parquet", "how clusters split from one clustering to the next")
    layout = _table("qdg/layout.parquet", "map of the tokens in two dimensions")
    nulls = _table("calibration/nulls.csv", "null models: slope, and whether the data differ")
    coverage = _table("calibration/coverage.csv", "intervals of α on held-out simulations")
    resolution = _table("calibration/resolution.csv", "α against the cosine that makes two tokens one quantum")
    parity_exponents = _table("parity/exponents.csv", "exponents on sparse parity, with the theory's")
    parity_convergence = _table("parity/convergence.csv", "steps to convergence on sparse parity against frequency")
    paper_against_ours = _table("report/paper_against_ours.csv", "the paper's numbers against this run's")
    features = _array("qdg/features.npy", "sketched gradients (N, k), not normalised; none in exact mode", "float32")
    affinity = _array("qdg/affinity.npy", "cosine similarity of gradients (N, N)", "float32")
    embedding = _array("qdg/embedding.npy", "spectral embedding (N, k_max)", "float64")
    eigenvalues = _array("qdg/eigenvalues.npy", "its eigenvalues (k_max,), largest first", "float64", 1)
    summary = _json("report/summary.json", "main numbers of the run")

    def __init__(self, folder: "str | PathLike[str]") -> None:
        self.folder = Path(folder)
        self.fits = Fits(self.folder)
        if not any((self.folder / result.path).exists() for result in _results(self)):
            raise self._no_run()

    def _no_run(self) -> QuantaError:
        around = [self.folder.parent, self.folder / "results", Path("results"), Path("results") / self.folder]
        found = {
            str(path)
            for place in around
            if place.is_dir()
            for path in [place, *place.iterdir()]
            if any((path / name).is_file() for name in (Run.family.path, Run.documents.path))
        }
        mend = f"quanta.load({sorted(found)[0]!r})" if found else "make one: snakemake --cores all"
        what = "holds no results" if self.folder.is_dir() else "no such folder"
        return QuantaError(str(self.folder), what, "the folder of a run, results/{run}", mend)

    def __repr__(self) -> str:
        return _listed(self, "run ") + "\n" + "\n".join(
            f"  {name:<{_WIDTH}} {what}"
            for name, what in (
                ("fits", f"fitted numbers: {', '.join(r.name for r in _results(self.fits) if _exists(self, r))}"),
                ("corpus", "token ids and offsets of the held-out documents"),
                ("losses(model)", "losses of a model, one per token of the corpus, nats"),
                ("token_losses", "losses of the selected tokens under all models, nats"),
                ("context(token)", "a selected token with the text around it"),
                ("clustering(k)", "labels at one number of clusters"),
                ("cluster(k, label)", "tokens of one cluster in context"),
                ("plot(name)", f"a figure of the report: {', '.join(self._figures) or 'none yet'}"),
                ("figure(name)", "numbers that a figure draws"),
                ("read(path)", "any other file of the run"),
            )
        )  # fmt: skip

    # ------------------------------------------------------------------------------------------------ corpus

    @cached_property
    def corpus(self) -> Tokens:
        """Token ids (a memory map) and offsets of the held-out documents, with what models read before each of them."""
        paths = [_made(self.folder, f"corpus/{name}.npy", "the encoded corpus") for name in ("tokens", "offsets")]
        beginning = self.folder / "corpus/beginning.json"
        return load_tokens(paths[0], paths[1], beginning if beginning.is_file() else None)

    @cached_property
    def _texts(self) -> Texts:
        path = _made(self.folder, "corpus/tokenizer/tokenizer.json", "the tokenizer of the run")
        return Texts(load_tokenizer(path.parent))

    def context(self, token: int) -> Context:
        """A selected token (0…N−1) with the text around it.

        Raises:
            QuantaError: there is no such token.
        """
        number = len(self.tokens)
        if not 0 <= token < number:
            raise _outside(f"{self.folder}, token", token, number)
        row = self.tokens.iloc[token]
        return self.context_at(int(row["document"]), int(row["position"]))

    def context_at(self, document: int, position: int) -> Context:
        """Any token of the corpus with the text around it.

        Raises:
            QuantaError: there is no such document, or it has no such position.
        """
        if not 0 <= document < self.corpus.n_documents:
            raise _outside(f"{self.folder}, document", document, self.corpus.n_documents)
        if not 0 <= position < self.corpus.lengths[document]:
            raise _outside(f"{self.folder}, position", position, int(self.corpus.lengths[document]))
        return Context(**contexts.context(self.corpus, self._texts, document, position))

    # ------------------------------------------------------------------------------------------------ losses

    def losses(self, model: str, step: int | None = None) -> Float32[Array, " token"]:
        """Losses of a model in nats, entry j the prediction of `corpus.ids[j]`; NaN at the first token of a document.

        Without `step`, those of the model's last one. A memory map.

        Raises:
            QuantaError: the family has no such model or step.
        """
        steps = self.family.loc[self.family["model"] == model, "step"]
        if steps.empty:
            raise _unknown(f"{self.folder}, model", model, dict.fromkeys(self.family["model"]))
        step = int(steps.max()) if step is None else step
        if step not in set(steps):
            raise _unknown(f"{self.folder}, step of {model}", step, sorted(steps))
        path = _made(self.folder, f"losses/{model}/step{step}.npy", "losses of this model and step")
        return files.read_array(
            path, dtype="float32", shape=(len(self.corpus.ids),), why="one loss a token of the corpus"
        )

    @cached_property
    def token_losses(self) -> pd.DataFrame:
        """Losses of the selected tokens in nats: a row a (model, step), in the family's order, a column a token."""
        flat = self.corpus.flat(self.tokens["document"].to_numpy(), self.tokens["position"].to_numpy())
        members = list(zip(self.family["model"], self.family["step"].astype(int), strict=True))
        rows = np.array([self.losses(model, step)[flat] for model, step in members])
        index = pd.MultiIndex.from_tuples(members, names=["model", "step"])
        return pd.DataFrame(rows, index=index, columns=pd.Index(self.tokens["token"], name="token"))

    # ---------------------------------------------------------------------------------------------- clusters

    def clustering(self, n_clusters: int) -> pd.Series:
        """Label of every selected token at one number of clusters; label 0 is the largest cluster.

        Raises:
            QuantaError: the run has no such number of clusters.
        """
        known = np.unique(self.labels["n_clusters"])
        if n_clusters not in known:
            raise _unknown(f"{self.folder}, n_clusters", n_clusters, known)
        part = self.labels[self.labels["n_clusters"] == n_clusters]
        return part.set_index("token")["label"].sort_index()

    def cluster(self, n_clusters: int, label: int) -> pd.DataFrame:
        """Selected tokens of one cluster with the text around them: columns before, target, after.

        Raises:
            QuantaError: there is no such clustering or label.
        """
        labels = self.clustering(n_clusters)
        inside = labels.index[labels == label]
        if inside.empty:
            raise _outside(f"{self.folder}, label", label, int(labels.max()) + 1)
        texts = pd.DataFrame([self.context(token) for token in inside], index=inside)
        return self.tokens.set_index("token").loc[inside].join(texts)

    # ---------------------------------------------------------------------------------------------- anything

    def figure(self, name: str) -> pd.DataFrame:
        """Numbers that a figure of the report draws.

        Raises:
            QuantaError: the run has no such figure.
        """
        return self.plot(name).data

    def plot(self, name: str) -> Figure:
        """A figure of the report; as the last line of a notebook's cell it is shown.

        Raises:
            QuantaError: the run has no such figure.
        """
        if name not in self._figures:
            raise _unknown(f"{self.folder / 'report/figures'}, figure", name, self._figures)
        return Figure(self.folder / "report/figures", name)

    @property
    def _figures(self) -> list[str]:
        return sorted(path.stem for path in (self.folder / "report/figures").glob("*.csv"))

    def read(self, path: str) -> Any:
        """Any file of the results tree by its path: a frame, a memory map, or a dictionary.

        Raises:
            QuantaError: the run has no such file, or its kind is another.
        """
        file = _made(self.folder, path, "a file of results/README.md")
        if file.suffix in (".csv", ".parquet"):
            return files.read_table(file)
        if file.suffix == ".json":
            return files.read_json(file)
        if file.suffix == ".npy":
            return np.load(file, mmap_mode="r", allow_pickle=False)
        raise QuantaError(
            str(file), f"{file.suffix or 'no suffix'}", ".csv, .parquet, .json or .npy", "open it yourself"
        )


_WIDTH = 19


def _results(owner: Any) -> list[Result[Any]]:
    return [one for one in vars(type(owner)).values() if isinstance(one, Result)]


def _exists(owner: Any, result: Result[Any]) -> bool:
    return bool((owner.folder / result.path).exists())


def _listed(owner: Any, title: str) -> str:
    """What there is, a line each, then the names of what there is not."""
    results = _results(owner)
    lines = [f"{title}{owner.folder}"]
    lines += [f"  {one.name:<{_WIDTH}} {one.what}" for one in results if _exists(owner, one)]
    lacking = [one.name for one in results if not _exists(owner, one)]
    return "\n".join([*lines, *([f"  not made by this run: {', '.join(lacking)}"] if lacking else [])])
