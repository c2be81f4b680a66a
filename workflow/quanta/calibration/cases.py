"""Few quanta of several cases: planted tokens whose quanta are used in ways of their own, some of which turn the gradient round.

A case is one way of using a quantum: on sparse parity, one pattern of the task's bits. Cases of one quantum share a direction, and each has
one of its own. A case of opposite sign has the shared directions with a minus. A token of case c of quantum q is

    √own · (features of the case, as `planted` draws those of a quantum) + sign_qc · (√shared · s + √common · axis_q),

scaled to unit length. Cosines tell cases apart better than quanta. So `summaries` looks at how alike two tokens are in their
|cosine| to all others, and at nothing else: with the summaries of cosines the exponent of parity nets is estimated worse (docs/calibration.md).
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
import pandas as pd
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform

from quanta.arrays import Array, Float, Int
from quanta.calibration import planted, simulations
from quanta.errors import QuantaError
from quanta.progress import Progress
from quanta.streams import Purpose, generator

FEWEST_QUANTA = 2
PRIOR = {
    "cases": (1.0, 16.0),
    "opposite": (0.0, 0.5),
    "common": (0.0, 0.5),
    "shared": (0.0, 0.15),
    "unlearned": (0.0, 0.15),
}
LOGARITHMIC = ("cases",)
# of 1 − likeness of profiles, at which groups are cut: once and twice correlated
CUTS = ((0.6, 0.8), (0.4, 0.7))
RANKS = (1, 2, 3, 4, 6, 8, 12)
COUNTED = 10  # tokens of a group that is counted


@dataclass(frozen=True)
class Settings:
    """What is planted: `tokens` as in `planted`, and how its quanta are divided into cases."""

    tokens: planted.Settings
    learned: int  # quanta of these ranks occur as often as their law says
    unlearned: float = 0.0  # share of the tokens of all others that occurs as well
    cases: int = 1  # of each quantum, equally often
    opposite: float = 0.0  # chance that a case has the opposite sign
    common: float = 0.0  # share of the direction that the cases of a quantum have in common
    shared: float = 0.0  # share of the direction that all tokens have in common


@dataclass(frozen=True)
class Planted:
    """Unit features, and the quantum and the case of each token."""

    features: Float[Array, "token feature"]
    quantum: Int[Array, " token"]
    case: Int[Array, " token"]


def from_prior(n_tokens: int, most_quanta: int, rng: np.random.Generator) -> Settings:
    """Settings drawn from `PRIOR`; learned quanta log-uniform from 2 to `most_quanta`; all else from `planted.PRIOR`.

    Raises:
        QuantaError: `most_quanta` below 2.
    """
    if most_quanta < FEWEST_QUANTA:
        raise QuantaError(
            "parity.n_tasks", f"{most_quanta} quanta", f"at least {FEWEST_QUANTA}", "raise parity.n_tasks"
        )
    tokens = planted.from_prior(n_tokens, rng)
    learned = round(float(np.exp(rng.uniform(np.log(FEWEST_QUANTA), np.log(most_quanta)))))
    drawn = {
        name: float(np.exp(rng.uniform(np.log(low), np.log(high))) if name in LOGARITHMIC else rng.uniform(low, high))
        for name, (low, high) in PRIOR.items()
    }
    # what all tokens share is turned round with their cases, so the plain kind is left out
    return Settings(
        replace(tokens, n_quanta=most_quanta, shared=0.0),
        learned,
        **drawn | {"cases": round(drawn["cases"])},  # type: ignore[arg-type]
    )


def draw(settings: Settings, rng: np.random.Generator) -> Planted:
    """Draw quanta by their frequencies, cases of each at random, and features as the module says."""
    s, n, k, d = settings, settings.tokens.n_tokens, settings.tokens.n_quanta, settings.tokens.dimension
    p = planted.frequencies(s.tokens.alpha, k)
    p[s.learned :] *= s.unlearned
    quantum = rng.choice(k, n, p=p / p.sum())
    case = rng.integers(0, s.cases, n)
    sign = np.where(rng.random((k, s.cases)) < s.opposite, -1, 1).astype(np.float32)[quantum, case]
    x, _ = planted.features(s.tokens, quantum * s.cases + case, rng)
    directions = rng.standard_normal((k + 1, d), dtype=np.float32) / np.float32(np.sqrt(d))
    turned = np.sqrt(s.shared) * directions[k] + np.sqrt(s.common) * directions[quantum]
    x = np.sqrt(1 - s.common - s.shared) * x + sign[:, None] * turned
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    return Planted(x.astype(np.float32), quantum, case)


def profiles(cosines: Float[Array, "token token"]) -> tuple[Array, Array]:
    """How alike two tokens are in their |cosine| to all tokens, (N, N), and how alike they are in that.

    Correlations of rows of √|cosine|, and correlations of their rows: blind to sign, near 1 for cases of one quantum.
    """
    magnitudes = np.sqrt(np.abs(np.asarray(cosines, dtype=np.float64)))
    np.fill_diagonal(magnitudes, 0)
    once = np.corrcoef(magnitudes)
    return once, np.corrcoef(once)


def summaries(cosines: Float[Array, "token token"]) -> dict[str, float]:
    """What is known of α from the profiles of cosines (N, N): `simulations.summaries` of them, and sizes of the groups that they make.

    Raises:
        QuantaError: fewer than 40 tokens, or a cosine that is not finite.
    """
    once, twice = profiles(cosines)
    alike = simulations.summaries(twice.astype(np.float32))
    found = {f"profile_{name}": value for name, value in alike.items() if not name.startswith("error_")}
    for times, matrix in enumerate((once, twice)):
        tree = linkage(squareform(np.maximum(1 - matrix, 0), checks=False), "average")
        for cut in CUTS[times]:
            sizes = np.sort(np.bincount(fcluster(tree, cut, "distance")))[::-1]
            found[f"groups_{times}_{cut}"] = float(np.log10(1 + np.count_nonzero(sizes >= COUNTED)))
            for rank in RANKS:
                size = sizes[rank - 1] if rank <= len(sizes) else 0
                found[f"group_{times}_{cut}_{rank}"] = float(np.log10((1 + size) / len(matrix)))
    return found


def simulate(numbers: Sequence[int], n_tokens: int, most_quanta: int, *, seed: int) -> pd.DataFrame:
    """Draws by number: the same number is the same draw, whichever job makes it.

    Returns:
        a row each: columns `simulation`, `planted_alpha`, `planted_n_tokens`, the other settings as `planted_…`, and the summaries.
    """
    progress = Progress("simulations of few quanta", len(numbers), "simulations")
    rows = []
    for number in numbers:
        rng = generator(seed, Purpose.PARITY_SIMULATION, number)
        settings = from_prior(n_tokens, most_quanta, rng)
        x = draw(settings, rng).features
        known = asdict(settings.tokens) | {k: v for k, v in asdict(settings).items() if k != "tokens"}
        rows.append(
            {"simulation": number}
            | {f"planted_{name}": value for name, value in known.items()}
            | summaries(np.clip(x @ x.T, -1, 1))
        )
        progress.advance()
    progress.done()
    return pd.DataFrame(rows)
