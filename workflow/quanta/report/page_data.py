"""What the page shows, packed: clusters, contexts, similarities, losses, the law."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from quanta.affinity.pairs import Pairs, among
from quanta.arrays import Array, Float, Int, evenly
from quanta.catalogue import contexts as catalogue_contexts
from quanta.catalogue import order_of_learning
from quanta.clustering import membership
from quanta.corpus.decoding import Texts
from quanta.corpus.encoding import Tokens
from quanta.progress import Progress
from quanta.rank_frequency import zipf
from quanta.report import rendering
from quanta.report.rendering import Chunk
from quanta.report.wording import value_with_interval
from quanta.storage.files import truth
from quanta.validation import null_models

HEAT_TOKENS = 560  # tokens on the heat map of all clusters, a pixel each on a wide screen
HEAT_WITHIN = 40  # tokens on the heat map of one cluster
NEAREST = 8  # nearest clusters listed for each
SECOND = "second_"  # begins the names of the second clustering's chunks
MILLINATS = 1000  # losses are kept in steps of 0.001 nats, as many digits as are shown


IDENTITY_MEANING = "sizes of groups that share a target token, without clustering"


# ---------------------------------------------------------------------------------------------------- what is shown


def contexts(selection: pd.DataFrame, tokens: Tokens, texts: Texts) -> dict[str, list[str]]:
    """Text before, of and after each selected token: lists `before`, `target`, `after` of N strings."""
    places = zip(selection["document"].tolist(), selection["position"].tolist(), strict=True)
    found = [catalogue_contexts.context(tokens, texts, document, position) for document, position in places]
    return {key: [one[key] for one in found] for key in ("before", "target", "after")}


def losses(all_losses: Sequence[Array], tokens: Tokens, selection: pd.DataFrame) -> Int[Array, "member token"]:
    """Losses of the selected tokens under each member in thousandths of a nat, the largest 65.535 nats."""
    where = tokens.flat(selection["document"].to_numpy(), selection["position"].to_numpy())
    rows = [np.asarray(values[where], dtype=np.float64) for values in all_losses]
    return np.clip(np.rint(np.stack(rows) * MILLINATS), 0, 65535).astype(np.uint16)


def similarity(cosines: Array | Pairs, label: Int[Array, " token"]) -> Float[Array, "cluster cluster"]:
    """Mean cosine between the tokens of each two clusters; on the diagonal of pairs within, without a token and itself.

    A cluster of one token has NaN there.
    """
    n = int(label.max()) + 1
    one = membership.one_hot(label)
    sums = cosines.sums(one) if isinstance(cosines, Pairs) else np.asarray((one @ (one @ cosines).T).T)
    size = np.bincount(label, minlength=n).astype(float)
    pairs = np.outer(size, size)
    inside = np.arange(n)
    sums[inside, inside] -= size  # the unit diagonal
    pairs[inside, inside] -= size
    return np.asarray(np.divide(sums, pairs, out=np.full_like(sums, np.nan), where=pairs > 0))


def within(cosines: Array | Pairs, label: Int[Array, " token"]) -> tuple[list[list[int]], Int[Array, " value"]]:
    """For each cluster at most forty of its tokens, evenly spread, and the cosines of their pairs in hundredths.

    Returns:
        the tokens of each cluster, and one int8 array: cluster after cluster, the pairs (i, j) with j < i, row by row.
    """
    chosen, parts = [], []
    for cluster in range(int(label.max()) + 1):
        inside = np.flatnonzero(label == cluster)
        inside = inside[evenly(len(inside), HEAT_WITHIN)]
        parts.append(_hundredths(among(cosines, inside)[np.tril_indices(len(inside), -1)]))
        chosen.append([int(i) for i in inside])
    return chosen, np.concatenate(parts)


def _hundredths(cosines: Array) -> Array:
    return np.asarray(np.clip(np.rint(np.asarray(cosines, dtype=np.float64) * 100), -100, 100).astype(np.int8))


@dataclass(frozen=True)
class Clustering:
    """A clustering of the selected tokens.

    `table` has a row a cluster (n_clusters, label and what else is to be shown of it), `places` (N, 2) the layout. Without
    `cosines` the page has no heat maps and no nearest clusters.
    """

    labels: pd.DataFrame
    table: pd.DataFrame
    cosines: Array | Pairs | None
    places: Array


def pack(
    *,
    selection: pd.DataFrame,
    labels: pd.DataFrame,
    table: pd.DataFrame,
    documents: pd.DataFrame,
    tokens: Tokens,
    texts: Texts,
    all_losses: Sequence[Array],
    cosines: Array | Pairs | None,
    places: Array,
    second: Clustering | None = None,
) -> list[Chunk]:
    """All data of the page.

    `all_losses` has one array a member of the family. The rest is the paper's clustering, see `Clustering`; `second` is
    another one of the same tokens.
    """
    sources, source = np.unique(documents["source"].to_numpy()[selection["document"].to_numpy()], return_inverse=True)
    chunks = [
        rendering.chunk(
            "tokens",
            {
                "document": selection["document"].tolist(),
                "position": selection["position"].tolist(),
                "token_id": selection["token_id"].tolist(),
                "source": source.tolist(),
                "sources": sources.tolist(),
                **contexts(selection, tokens, texts),
            },
        ),
        rendering.chunk("losses", losses(all_losses, tokens, selection)),
        *_clustering(Clustering(labels, table, cosines, places)),
    ]
    return chunks if second is None else [*chunks, *_clustering(second, SECOND)]


def _clustering(one: Clustering, prefix: str = "") -> list[Chunk]:
    """Chunks of a clustering; their names begin with `prefix`."""
    cosines = one.cosines
    ks = sorted(int(k) for k in one.labels["n_clusters"].unique())
    own = {k: membership.at(one.labels, k) for k in ks}
    spread = one.places - one.places.min(axis=0)
    spread = np.rint(spread / max(float(spread.max()), 1e-12) * 65535).astype(np.uint16)
    chunks = [
        rendering.chunk(f"{prefix}labels", np.stack([own[k] for k in ks]).astype(np.uint16)),
        rendering.chunk(f"{prefix}layout", np.ascontiguousarray(spread.T)),
    ]
    shown_of = {str(k): plain(part.sort_values("label")) for k, part in one.table.groupby("n_clusters")}
    if cosines is None:
        return [*chunks, rendering.chunk(f"{prefix}clusters", shown_of)]
    shown = evenly(len(one.places), HEAT_TOKENS)
    chunks.append(rendering.chunk(f"{prefix}heat_tokens", shown.astype(np.uint32)))
    chunks.append(rendering.chunk(f"{prefix}heat", _hundredths(among(cosines, shown))))
    progress = Progress("page", len(ks), "clusterings")
    for k in ks:
        chosen, values = within(cosines, own[k])
        mean = similarity(cosines, own[k])
        others = mean.copy()
        np.fill_diagonal(others, -np.inf)
        nearest = np.argsort(-others, axis=1, kind="stable")[:, : min(NEAREST, len(others) - 1)]
        near = np.take_along_axis(others, nearest, axis=1)
        inside = [None if np.isnan(x) else round(float(x), 3) for x in np.diagonal(mean)]
        shown_of[str(k)].setdefault("cosine_within", inside)
        chunks.append(
            rendering.chunk(
                f"{prefix}near_{k}",
                {
                    "tokens": chosen,
                    "nearest": nearest.tolist(),
                    "cosine": np.round(near, 3).tolist(),
                    "within": inside,
                },
            )
        )
        chunks.append(rendering.chunk(f"{prefix}within_{k}", values))
        progress.advance()
    progress.done()
    return [*chunks, rendering.chunk(f"{prefix}clusters", shown_of)]


def plain(table: pd.DataFrame) -> dict[str, list[Any]]:
    """A table as columns of plain values; what is no number (NaN) becomes None."""
    return {
        str(name): [
            None if isinstance(x, float) and not np.isfinite(x) else (json.loads(x) if name == "rule" else x)
            for x in table[name].tolist()
        ]
        for name in table.columns
    }


def joined(described: pd.DataFrame, scores: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """The table of clusters with the columns that other tables have of them (n_clusters, label, stability, skill, …)."""
    for table in scores:
        fresh = [name for name in table.columns if name not in described.columns]
        described = described.merge(
            table[["n_clusters", "label", *fresh]], on=["n_clusters", "label"], how="left", validate="1:1"
        )
    return described


def family(
    members: Sequence[tuple[str, int]],
    table: pd.DataFrame,
    show: int,
    clustered: str,
    final_step: int,
    dynamics: str | None,
) -> dict[str, Any]:
    """What the page knows of the models: members in order, which of them make the axes, which was clustered.

    The axis of sizes has one model a size, those of the first seed: between two seeds of a size lies no step of size.
    `other_seeds` are the rest of the final models.
    """
    rows = table.set_index(["model", "step"])
    size = rows["non_embedding_parameters"]
    final = [i for i, (_, step) in enumerate(members) if step == final_step]
    seeds = rows["seed"].fillna(0) if "seed" in rows else size * 0
    first = [i for i in final if seeds[members[i]] == min(seeds[members[j]] for j in final)]
    return {
        "members": [{"model": m, "step": step, "parameters": int(size[m, step])} for m, step in members],
        "by_size": first,
        "other_seeds": [i for i in final if i not in first],
        "by_step": [i for i, (model, _) in enumerate(members) if model == dynamics],
        "clustered": members.index((clustered, final_step)),
        "show": show,
    }


def learned(table: pd.DataFrame) -> tuple[pd.DataFrame, list[dict[str, str]]]:
    """When each cluster is learned, a row a cluster, and what its columns are.

    `table` is qdg/learned.csv: of each axis the main reference is kept, as `learned_0` (the median token; NaN where it is not
    learned within the axis), `learned_0_low` and `learned_0_high` (its 90 % interval) and so on.
    """
    wide: pd.DataFrame | None = None
    axes: list[dict[str, str]] = []
    for axis in table["axis"].unique():
        reference = order_of_learning.main_reference(axis)
        part = table[(table["axis"] == axis) & (table["reference"] == reference.name)]
        name = f"learned_{len(axes)}"
        columns = {"learned": name, "low": f"{name}_low", "high": f"{name}_high"}
        part = part[["n_clusters", "label", *columns]].rename(columns=columns)
        wide = part if wide is None else wide.merge(part, on=["n_clusters", "label"], validate="1:1")
        axes.append({"column": name, "axis": str(axis), "reference": reference.meaning})
    return table[["n_clusters", "label"]].drop_duplicates() if wide is None else wide, axes


def meaning(name: str) -> str:
    """What the page says of a null model; nothing for one that this version does not know."""
    return IDENTITY_MEANING if name == zipf.IDENTITY else null_models.MEANINGS.get(name, "")


def law(
    table: pd.DataFrame,
    fits: Mapping[str, Any],
    scaling: Mapping[str, Any],
    selection: pd.DataFrame,
    null_curves: pd.DataFrame | None,
    calibration: Mapping[str, Any] | None,
    null_slopes: pd.DataFrame | None = None,
) -> dict[str, Any]:
    """What the page knows of the rank-frequency law.

    `table` is rank_frequency.csv (the envelope has n_clusters 0), `null_curves` has columns model, rank, size, and
    `null_slopes` model, slope, distinguishable (from the data's slope; missing where it was not tested).
    """
    envelope, alpha_n = fits["envelope_slope"], scaling["alpha_n"]["value"]
    fit = {name: envelope.get(name) for name in ("value", "interval", "ranks")}
    curves = {zipf.IDENTITY: zipf.sizes(selection["token_id"].to_numpy()).tolist()}
    if null_curves is not None:
        for name, part in null_curves.groupby("model", sort=False):
            if name != "the data":
                curves[str(name)] = [int(x) for x in part.sort_values("rank")["size"]]
    slopes: dict[str, tuple[Any, Any]] = {zipf.IDENTITY: (fits.get("identity_slope", {}).get("value"), None)}
    if null_slopes is not None:
        for name, slope, told in null_slopes[["model", "slope", "distinguishable"]].itertuples(index=False):
            slopes[str(name)] = (
                float(slope) if np.isfinite(slope) else None,
                truth(told),
            )
    nulls = []
    for name, sizes in curves.items():
        slope, told = slopes.get(name, (None, None))
        nulls.append({"name": name, "sizes": sizes, "slope": slope, "different": told, "meaning": meaning(name)})
    notes = []
    if envelope.get("method"):
        ranks, n = envelope["ranks"], envelope["n_tokens"]
        notes.append(
            f"The fit: {envelope['method']}, ranks {ranks[0]} to {ranks[1]} of {n:,} tokens "
            "(the paper: 100 to 1000 of 10,000). The fit leaves out the first ranks, because clustering puts there what fits nowhere "
            "else. It leaves out the last ranks, because clusters there have one or two tokens."
        )
    if envelope.get("interval_method"):
        notes.append(f"Interval of the slope: {envelope['interval_method']}.")
    if alpha_n is not None:
        notes.append(
            f"The theory: −(α_N + 1), with α_N = {alpha_n:.3f} from the fall of the mean loss with model size. It predicts "
            "the slope only. Its line goes through the middle of the fitted points."
        )
    if calibration is not None and calibration.get("alpha", {}).get("value") is not None:
        alpha = calibration["alpha"]
        below = (
            " A value below zero would mean that quanta are used more evenly than one over their rank."
            if alpha["value"] < 0
            else ""
        )
        notes.append(
            f"The simulator's exponent: α = {value_with_interval(alpha)} ({alpha.get('interval_method', '')}). Clustering changes "
            f"the slope, so the slope does not give α. Simulations with planted quanta give this value. It is no measurement.{below}"
        )
    return {
        "ks": sorted(int(k) for k in table["n_clusters"].unique() if k),
        "rank": {
            int(k): part.sort_values("rank")["size"].astype(int).tolist() for k, part in table.groupby("n_clusters")
        },
        "fit": fit,
        "theory_slope": None if alpha_n is None else -alpha_n - 1,
        "nulls": nulls,
        "notes": notes,
    }


def second(kind: str, meaning: str, agreement: pd.DataFrame, law_of: Mapping[str, Any]) -> dict[str, Any]:
    """What the page knows of the second clustering: its name and meaning, agreement with the first, its own law.

    `agreement` has columns n_clusters and adjusted_rand; `law_of` is `law` of its tables.
    """
    rand = zip(agreement["n_clusters"].tolist(), agreement["adjusted_rand"].tolist(), strict=True)
    own = {key: law_of[key] for key in ("rank", "fit", "nulls", "notes")}
    return {"kind": kind, "meaning": meaning, "agreement": {int(k): round(x, 4) for k, x in rand}, **own}


def facts(summary: Mapping[str, Any], figure: str, model: str, n_tokens: int, n_clusters: int) -> str:
    """What a caption says of the run: its name, n, and what the n are."""
    predictions = summary["family"][0]["n_predictions"]
    sizes = len({member["non_embedding_parameters"] for member in summary["family"]})
    numbers = summary.get("numbers", {})
    tokens, parity = f"n = {n_tokens:,} tokens of {model}", numbers.get("parity")
    own = {
        **dict.fromkeys(
            ("affinity", "clusters", "emergence", "learned", "stability"), f"{tokens}, {n_clusters} clusters."
        ),
        **dict.fromkeys(("spectrum", "rank_frequency"), f"{tokens}."),
        "learning_curves": f"{sizes} models, one a size.",
    }
    if (numbers.get("calibrated_alpha") or {}).get("n_tokens") == n_tokens:  # else some are of a sample
        own |= dict.fromkeys(("nulls", "resolution", "calibration", "affinities"), f"{tokens}.")
    if parity and figure.startswith("parity"):
        own[figure] = "n = {n_tasks} tasks of {k} of {n_bits} bits, nets of {width} hidden units at most.".format(
            **parity
        )
    kinds = ("mean_loss", "density", "token_curves", "dynamics", "sharpness", "seeds")
    n = own.get(figure, f"n = {predictions:,} predictions of each model." if figure.startswith(kinds) else "")
    return f"{n} Run {summary['run']}.".strip()


def shown(table: pd.DataFrame) -> list[dict[str, str]]:
    """Rows as text: whole numbers as they are, others to three places, `<0.001` if positive and below it, nothing for what is missing."""

    def text(value: Any) -> str:
        if isinstance(value, float):
            return "" if np.isnan(value) else "<0.001" if 0 < value < 0.001 else f"{value:.3f}"
        return "" if value is None else str(value)

    return [{str(name): text(value) for name, value in row.items()} for row in table.to_dict(orient="records")]
