"""The quantization model as functions: losses, exponents and slopes, exact for finitely many quanta (the paper's section 2).

Symbols: quantum k = 1, 2, …, K is used with frequency p_k = k^-(α+1) / Z. The first n quanta are learned. A token that
uses a learned quantum costs `a`, another one `b` (nats, or any one unit of loss). K may be infinite, and then
Z = ζ(α+1). Sums run through the Hurwitz zeta function: Σ_{k>n} k^-s = ζ(s, n+1).
"""

from collections.abc import Sequence

import numpy as np
from scipy.special import bdtr, zeta

from quanta.arrays import Array, Float, log_log_fit
from quanta.errors import QuantaError

INFINITE = float("inf")


def _check_alpha(alpha: float) -> None:
    if not alpha > 0:
        raise QuantaError("theory.alpha", f"α = {alpha}", "α > 0: else the frequencies have no sum", "raise α")


def power_sum(exponent: float, after: Array | float, last: float = INFINITE) -> Float[Array, "..."]:
    """Σ k^-exponent over whole k with after < k ≤ last; real `after` and `last` continue it smoothly. exponent > 1."""
    total = zeta(exponent, np.asarray(after, dtype=np.float64) + 1)
    return np.asarray(total if np.isinf(last) else total - zeta(exponent, last + 1.0))


def frequencies(alpha: float, n_quanta: int) -> Float[Array, " quantum"]:
    """p_k for k = 1…K, normalised over the K quanta there are.

    Raises:
        QuantaError: α is not above zero, or K below 1.
    """
    _check_alpha(alpha)
    if n_quanta < 1:
        raise QuantaError("theory.n_quanta", f"{n_quanta} quanta", "at least one", "raise theory.n_quanta")
    return np.asarray(np.arange(1, n_quanta + 1, dtype=np.float64) ** -(alpha + 1) / power_sum(alpha + 1, 0, n_quanta))


def unlearned_share(n: Array | float, alpha: float, n_quanta: float = INFINITE) -> Float[Array, "..."]:
    """Σ_{k>n} p_k: the share of tokens whose quantum is not learned, exact; zero from n = K on."""
    _check_alpha(alpha)
    learned = np.minimum(np.asarray(n, dtype=np.float64), n_quanta)
    return np.asarray(power_sum(alpha + 1, learned, n_quanta) / power_sum(alpha + 1, 0, n_quanta))


def loss(
    n: Array | float, alpha: float, *, n_quanta: float = INFINITE, before: float = 1.0, after: float = 0.0
) -> Float[Array, "..."]:
    """Expected loss after n quanta, L_n = a Σ_{k≤n} p_k + b Σ_{k>n} p_k, in the unit of `before` (b) and `after` (a)."""
    return np.asarray(after + (before - after) * unlearned_share(n, alpha, n_quanta))


def loss_asymptote(n: Array | float, alpha: float, *, before: float = 1.0, after: float = 0.0) -> Float[Array, "..."]:
    """The paper's approximation for large n and K = ∞: a + (b − a) n^-α / (α ζ(α+1))."""
    _check_alpha(alpha)
    tail = np.asarray(n, dtype=np.float64) ** -alpha / (alpha * zeta(alpha + 1))
    return np.asarray(after + (before - after) * tail)


def _log_power_sum(exponent: float, after: Array | float, last: float) -> Float[Array, "..."]:
    """Σ k^-exponent ln k over after < k ≤ last (Euler–Maclaurin beyond the first terms)."""

    def tail(begin: Float[Array, "..."]) -> Float[Array, "..."]:
        # terms up to the shift exactly, then integral, half term and two derivatives: error below 1e-12 of the sum
        shift = 40
        terms = begin[..., None] + np.arange(shift)
        head = (terms**-exponent * np.log(terms)).sum(-1)
        x, s = begin + shift, exponent
        log = np.log(x)
        integral = x ** (1 - s) * (log / (s - 1) + 1 / (s - 1) ** 2)
        first = x ** (-s - 1) * (1 - s * log)
        third = x ** (-s - 3) * (-s * (s + 1) * (s + 2) * log + 3 * s**2 + 6 * s + 2)
        return np.asarray(head + integral + x**-s * log / 2 - first / 12 + third / 720)

    begin = np.asarray(after, dtype=np.float64) + 1
    return tail(begin) if np.isinf(last) else tail(begin) - tail(np.full_like(begin, last + 1.0))


def loss_by_frequency(n: Array | float, alpha: float, *, n_quanta: float = INFINITE, after: float = 0.0) -> Array:
    """Expected loss in nats where a quantum costs b_k = −ln p_k before it is learned (variant of the paper's appendix).

    L_n = a Σ_{k≤n} p_k + Σ_{k>n} p_k (−ln p_k). Before anything is learned this is the entropy of the frequencies.
    """
    learned = np.minimum(np.asarray(n, dtype=np.float64), n_quanta)
    norm = power_sum(alpha + 1, 0, n_quanta)
    share = unlearned_share(learned, alpha, n_quanta)
    surprise = (alpha + 1) * _log_power_sum(alpha + 1, learned, n_quanta) / norm + share * np.log(norm)
    return np.asarray(after * (1 - share) + surprise)


# ------------------------------------------------------------------------------------------ quanta from resources


def quanta_of_parameters(parameters: Array, *, cost: float = 1.0, growth: float = 0.0) -> Float[Array, "..."]:
    """How many quanta N parameters hold, where quantum k costs `cost`·k^`growth` of them (growth 0: the paper's text).

    Solves N = cost Σ_{k≤n} k^growth ≈ cost n^(1+growth)/(1+growth), so that α_N = α/(1+growth).
    """
    if growth <= -1:
        raise QuantaError(
            "theory.growth", f"{growth}", "more than −1: else the cost of all quanta is finite", "raise it"
        )
    return np.asarray(((1 + growth) * np.asarray(parameters, dtype=np.float64) / cost) ** (1 / (1 + growth)))


def quanta_of_samples(samples: Array, alpha: float, *, threshold: float, n_quanta: float = INFINITE) -> Array:
    """How many quanta D samples show at least `threshold` (τ) times on average: D p_n = τ, so n ∝ D^(1/(α+1)).

    The same law holds for steps of one epoch, where a quantum needs a time τ/p_k.
    """
    norm = float(power_sum(alpha + 1, 0, n_quanta))
    n = (np.asarray(samples, dtype=np.float64) / (threshold * norm)) ** (1 / (alpha + 1))
    return np.asarray(np.minimum(n, n_quanta))


RESOURCES = ("parameters", "data", "steps")


def exponent(resource: str, alpha: float, growth: float = 0.0) -> float:
    """The asymptotic exponent of the loss: α in parameters (over 1 + growth), α/(α+1) in data and in steps."""
    _check_alpha(alpha)
    if resource == "parameters":
        return alpha / (1 + growth)
    if resource in ("data", "steps"):
        return alpha / (alpha + 1)
    raise QuantaError("theory", f"the resource {resource!r}", f"one of {RESOURCES}", "name one of these")


def data_exponent(parameter_exponent: Array | float) -> Float[Array, "..."]:
    """α_D = α_N / (α_N + 1), the theory's tie between the two that needs no α."""
    found = np.asarray(parameter_exponent, dtype=np.float64)
    return found / (found + 1)


# ------------------------------------------------------------------------------------------------------- slopes


def fitted_slope(scale: Array, losses: Array) -> float:
    """Minus the least-squares slope of log loss on log scale: what one reads off a log-log plot.

    Raises:
        QuantaError: fewer than two different scales, or a loss that is not positive.
    """
    scale, losses = np.asarray(scale, dtype=np.float64), np.asarray(losses, dtype=np.float64)
    if len(np.unique(scale)) < 2 or not (losses > 0).all() or not (scale > 0).all():
        raise QuantaError(
            "fit",
            f"scales {scale.tolist()} with losses {losses.tolist()}",
            "two scales and positive losses",
            "widen the range",
        )
    return float(-log_log_fit(scale, losses)[0])


def local_slope(
    n: Array | float, alpha: float, resource: str, *, n_quanta: float = INFINITE, growth: float = 0.0
) -> Float[Array, "..."]:
    """−d ln L / d ln(resource) where n quanta are learned (a = 0), exact for finite K.

    By d/dn Σ_{k>n} k^-s = −s ζ(s+1, n+1) at the smooth continuation, times d ln n / d ln(resource). It is 0 at n = 0, near
    the asymptotic exponent for 1 ≪ n ≪ K, and grows without bound as n nears K, where the loss falls to its floor.
    """
    _check_alpha(alpha)
    n = np.asarray(n, dtype=np.float64)
    growth_of_n = {"parameters": 1 / (1 + growth), "data": 1 / (alpha + 1), "steps": 1 / (alpha + 1)}
    exponent(resource, alpha)  # names a wrong resource
    left = power_sum(alpha + 1, n, n_quanta)
    return np.asarray(n * (alpha + 1) * zeta(alpha + 2, n + 1) / left * growth_of_n[resource])


def slope_over(
    n_first: float, n_last: float, alpha: float, resource: str, *, n_quanta: float = INFINITE, points: int = 30
) -> float:
    """The slope that a fit over `points` log-spaced scales would find if `n_first`…`n_last` quanta were learned there.

    This is what a slope measured over that range is to be held against, and not the asymptote.

    Raises:
        QuantaError: the range is empty, or the loss is zero within it (n_last ≥ K).
    """
    if not 0 < n_first < n_last < n_quanta:
        raise QuantaError(
            "theory", f"the range {n_first}…{n_last} of {n_quanta} quanta", "0 < first < last < K", "fit another range"
        )
    n = np.geomspace(n_first, n_last, points)
    power = 1.0 if resource == "parameters" else alpha + 1
    exponent(resource, alpha)
    return fitted_slope(n**power, unlearned_share(n, alpha, n_quanta))


# -------------------------------------------------------------------------------------------------- Monte Carlo


def simulate_data(
    sizes: Sequence[int], alpha: float, n_quanta: int, *, threshold: int, draws: int, rng: np.random.Generator
) -> Float[Array, "draw size"]:
    """Loss (a = 0, b = 1) of a learner that sees D random samples and learns each quantum shown `threshold` times."""
    p = frequencies(alpha, n_quanta)
    return np.array([[float(p[rng.multinomial(size, p) < threshold].sum()) for size in sizes] for _ in range(draws)])


def expected_data_loss(sizes: Sequence[int], alpha: float, n_quanta: int, *, threshold: int) -> Float[Array, " size"]:
    """The mean of `simulate_data`: Σ p_k P(Binomial(D, p_k) < τ), exact."""
    p = frequencies(alpha, n_quanta)
    return np.array([float((p * bdtr(threshold - 1, size, p)).sum()) for size in sizes])


def simulate_parameters(
    capacities: Sequence[int], alpha: float, n_quanta: int, *, samples: int, rng: np.random.Generator
) -> Float[Array, " capacity"]:
    """Loss (a = 0, b = 1) of a learner that counts quanta in `samples` tokens and keeps the most frequent it has room for.

    Rare quanta with equal counts are taken in random order: learning by observed, not by true frequency.
    """
    p = frequencies(alpha, n_quanta)
    counts = rng.multinomial(samples, p) + rng.random(n_quanta)
    order = np.argsort(-counts)
    left = 1 - np.concatenate([[0], np.cumsum(p[order])])
    return np.asarray(left[np.minimum(capacities, n_quanta)])
