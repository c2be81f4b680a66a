"""The benchmark: every affinity, assignment and number of clusters of a set against its skills."""

import hashlib
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from quanta.arrays import Array, Float, Int
from quanta.errors import QuantaError
from quanta.known_skills.affinities import AFFINITIES, BASELINE
from quanta.known_skills.assignments import ASSIGNMENTS, LEFT_OUT, number_by_silhouette
from quanta.known_skills.evidence import Evidence
from quanta.progress import Progress
from quanta.streams import Purpose, generator

COLUMNS = ("set", "affinity", "assignment", "factor", "n_clusters", "truth", "adjusted_rand", "adjusted_mutual_information", "left_out")  # fmt: skip
FOLLOWED = (  # the paper's method, the best with two assignments, and the context with the same
    ("cosine", "angular, spectral"),
    ("√|g|, first attention, all nets", "neighbours, spectral"),
    ("√|g|, first attention, all nets", "average linkage"),
    (BASELINE + "context", "neighbours, spectral"),
    (BASELINE + "context", "average linkage"),
)
NATURAL, UNKNOWN = "as they occur", "as they occur, number by silhouette"  # conditions
SURFACE = "as it is"  # the assignment of groupings that are labels already


def score(labels: Int[Array, " sample"], truth: Int[Array, " sample"]) -> dict[str, float]:
    """Adjusted Rand index and adjusted mutual information; each sample that is left out is a cluster of its own.

    Returns:
        adjusted_rand, adjusted_mutual_information (1 for the truth, about 0 for random labels), left_out (a share).

    Raises:
        QuantaError: not one label for each sample.
    """
    from sklearn.metrics import adjusted_mutual_info_score, adjusted_rand_score

    if len(labels) != len(truth) or not len(truth):
        raise QuantaError("known skills", f"{len(labels)} labels", f"one for each of {len(truth)} samples", "label all")
    out = labels == LEFT_OUT
    alone = np.where(out, labels.max() + 1 + np.cumsum(out), labels)
    return {
        "adjusted_rand": float(adjusted_rand_score(truth, alone)),
        "adjusted_mutual_information": float(adjusted_mutual_info_score(truth, alone)),
        "left_out": float(out.mean()),
    }


def by_skill(evidence: Evidence, labels: Int[Array, " sample"]) -> pd.DataFrame:
    """How well each skill is one cluster.

    Returns:
        skill, frequency, samples, recall (largest share of the skill in one cluster), precision (the skill's share of it).
    """
    rows = []
    for skill in np.unique(evidence.skills):
        own = evidence.skills == skill
        names, counts = np.unique(labels[own & (labels != LEFT_OUT)], return_counts=True)
        main = names[counts.argmax()] if len(names) else LEFT_OUT
        shared = int(counts.max()) if len(names) else 0
        rows.append(
            {
                "skill": evidence.skill_names[skill],
                "frequency": float(evidence.frequencies[skill]),
                "samples": int(own.sum()),
                "recall": shared / int(own.sum()),
                "precision": shared / max(int((labels == main).sum()), 1) if shared else 0.0,
            }
        )
    return pd.DataFrame(rows)


def chosen(names: Sequence[str], known: dict[str, Callable[..., object]], where: str) -> list[str]:
    """The names that are asked for; all if none is.

    Raises:
        QuantaError: a name that is not registered.
    """
    wrong = [name for name in names if name not in known]
    if wrong:
        raise QuantaError(f"known_skills.{where}", f"{wrong}", f"some of {sorted(known)}", "name what is registered")
    return list(names) or list(known)


def similarity_of(name: str, evidence: Evidence) -> Float[Array, "sample sample"]:
    """The matrix of an affinity, checked.

    Raises:
        QuantaError: it is not a finite, symmetric matrix with a row for each sample.
    """
    found = AFFINITIES[name](evidence)
    n = len(evidence)
    if found.shape != (n, n) or not np.isfinite(found).all() or np.abs(found - found.T).max() > 1e-5:
        raise QuantaError(f"affinity {name!r} on {evidence.name}", f"shape {found.shape}, finite and symmetric or not",
                          f"a finite symmetric matrix of {n} samples", "see quanta.known_skills.affinities")  # fmt: skip
    return found


def numbers(n_skills: int, n_samples: int, factors: Sequence[float]) -> dict[float, int]:
    """Numbers of clusters by their factor of the true number."""
    return {factor: int(np.clip(round(factor * n_skills), 2, n_samples - 1)) for factor in factors}


def table(
    evidence: Evidence,
    *,
    affinities: Sequence[str] = (),
    assignments: Sequence[str] = (),
    factors: Sequence[float] = (1.0,),
    seed: int = 0,
) -> pd.DataFrame:
    """Scores of every affinity, assignment and number of clusters; the groupings by surface come first.

    `factors` are numbers of clusters over the true number. No names means all that are registered.

    Returns:
        columns `COLUMNS`: one row per affinity, assignment, factor and truth ("skill", and the set's further ones).

    Raises:
        QuantaError: an unknown name, or an affinity that gives no similarity.
    """
    truths = {"skill": evidence.skills, **evidence.further}
    rows: list[dict[str, object]] = []

    def add(affinity: str, assignment: str, factor: float, k: int, labels: Array) -> None:
        keys = {"set": evidence.name, "affinity": affinity, "assignment": assignment, "factor": factor, "n_clusters": k}
        rows.extend(keys | {"truth": name} | score(labels, truth) for name, truth in truths.items())

    for name, labels in evidence.surface.items():
        add(BASELINE + name, SURFACE, 1.0, len(np.unique(labels)), labels)
    wanted = chosen(affinities, dict(AFFINITIES), "affinities")
    ways = chosen(assignments, dict(ASSIGNMENTS), "assignments")
    ks = numbers(evidence.n_skills, len(evidence), factors)
    progress = Progress(f"methods on {evidence.name}", len(wanted) * len(ways), "methods")
    # with one net, or without attention, several affinities are the same matrix
    seen: dict[bytes, dict[str, dict[int, Array]]] = {}
    for name in wanted:
        similarity = similarity_of(name, evidence)
        own = seen.setdefault(hashlib.sha256(similarity.tobytes()).digest(), {})
        for way in ways:
            if way not in own:
                own[way] = ASSIGNMENTS[way](similarity.copy(), sorted(set(ks.values())), seed)
            for factor, k in ks.items():
                add(name, way, factor, k, own[way][k])
            progress.advance()
    progress.done()
    return pd.DataFrame(rows)[list(COLUMNS)]


def under_conditions(
    evidence: Evidence,
    natural: Evidence | None = None,
    *,
    affinities: Sequence[str] = (),
    assignments: Sequence[str] = (),
    factors: Sequence[float] = (1.0,),
    noises: Sequence[float] = (),
    fewer: Sequence[float] = (),
    seed: int = 0,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """`table` of a set, and of the same with noise, with fewer samples, and of `natural`, samples as they occur.

    Conditions beyond the first are measured for `FOLLOWED` alone, at the true number of clusters. `natural` is also scored at
    a number that the affinity itself chooses (`assignments.number_by_silhouette`): its factor is that over the true number.

    Returns:
        the scores with a column condition ("base", "noise 1", …), and `by_skill` for `FOLLOWED` with set, affinity, assignment.
    """
    parts = [table(evidence, affinities=affinities, assignments=assignments, factors=factors, seed=seed)]
    parts[0]["condition"] = "base"
    others = {f"noise {noise:g}": evidence.with_noise(noise, seed) for noise in noises}
    for share in fewer:
        rng = generator(seed, Purpose.SKILL_SAMPLES, 3)
        others[f"{share:g} of the samples"] = evidence.take(
            np.sort(rng.permutation(len(evidence))[: int(share * len(evidence))])
        )
    if natural is not None:
        others[NATURAL] = natural
    skills = []
    wanted, ways = (
        chosen(affinities, dict(AFFINITIES), "affinities"),
        chosen(assignments, dict(ASSIGNMENTS), "assignments"),
    )
    for name, way in FOLLOWED:
        if name in wanted and way in ways:
            for condition, other in others.items():
                found = table(other, affinities=[name], assignments=[way], seed=seed)
                parts.append(found[found["affinity"] == name].assign(condition=condition))
            if natural is not None:
                k = number_by_silhouette(similarity_of(name, natural), way, seed)
                found = table(natural, affinities=[name], assignments=[way], factors=[k / natural.n_skills], seed=seed)
                parts.append(found[found["affinity"] == name].assign(condition=UNKNOWN))
            labels = ASSIGNMENTS[way](similarity_of(name, evidence), [evidence.n_skills], seed)[evidence.n_skills]
            keys = {"set": evidence.name, "affinity": name, "assignment": way}
            skills.append(by_skill(evidence, labels).assign(**keys))
    none = pd.DataFrame(
        columns=["skill", "frequency", "samples", "recall", "precision", "set", "affinity", "assignment"]
    )
    return pd.concat(parts, ignore_index=True), pd.concat(skills or [none], ignore_index=True)
