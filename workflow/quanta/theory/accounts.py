"""Other accounts of scaling beside the quantization model, and what each predicts."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from quanta.arrays import Array, Float
from quanta.theory import closed_form
from quanta.theory.closed_form import RESOURCES

# --------------------------------------------------------------------------------------------------- other accounts


@dataclass(frozen=True)
class Account:
    """What one theory says of the exponents, for tokens of frequency ∝ k^-(α+1); None where it says nothing."""

    name: str
    source: str
    equation: str
    predict: Callable[[float], dict[str, float | None]]


def accounts() -> list[Account]:
    """Theories of the field that predict the same exponents, each with its source and equation."""

    def quantization(alpha: float) -> dict[str, float | None]:
        return {name: closed_form.exponent(name, alpha) for name in RESOURCES} | {"compute": None}

    return [
        Account(
            "quantization",
            "Michaud et al. 2023, arXiv 2303.13506, section 2",
            "α_N = α, α_D = α_S = α/(α+1)",
            quantization,
        ),
        Account(
            "multilinear",
            "Nam et al. 2024, arXiv 2404.17563, Table 2",
            "α_N = α, α_D = α_T = α/(α+1), α_C = α/(α+2) with C = T·N, for squared loss",
            lambda alpha: quantization(alpha) | {"compute": alpha / (alpha + 2)},
        ),
        Account(
            "weak superposition",
            "Liu, Liu, Gore 2025, arXiv 2505.10465, toy model: features beyond the width are lost",
            "L ∝ m^-α in the width m (frequencies ∝ k^-(α+1))",
            lambda alpha: {"parameters": alpha, "data": None, "steps": None, "compute": None},
        ),
        Account(
            "strong superposition",
            "Liu, Liu, Gore 2025, arXiv 2505.10465, abstract: all features overlap",
            "L ∝ 1/m in the width m, whatever the frequencies",
            lambda alpha: {"parameters": 1.0, "data": None, "steps": None, "compute": None},
        ),
        Account(
            "critical percolation",
            "Brill 2024, arXiv 2412.07942: clusters of size s in number ∝ s^-5/2 as discrete subtasks",
            "α = 1, hence α_N = 1 and α_D = 1/2 by the quantization model",
            lambda alpha: {"parameters": 1.0, "data": 0.5, "steps": None, "compute": None},
        ),
    ]


def account_table(alphas: Sequence[float]) -> pd.DataFrame:
    """One row an account, α and resource: account, source, equation, alpha, resource, exponent."""
    rows = [
        {
            "account": account.name,
            "source": account.source,
            "equation": account.equation,
            "alpha": alpha,
            "resource": resource,
            "exponent": value,
        }
        for account in accounts()
        for alpha in alphas
        for resource, value in account.predict(alpha).items()
        if value is not None
    ]
    return pd.DataFrame(rows)


def multilinear_loss(
    time: Array, alpha: float, *, n_quanta: int, initial: float = 0.01, rate: float = 1.0
) -> Float[Array, " time"]:
    """Loss over time of the multilinear model with all K skills and endless data, as a share of the loss at R = 0.

    Nam et al. 2024 (arXiv 2404.17563), eq. 11 and 12 with S = 1: Σ p_k (1 − R_k(T))², where the strength of a skill is a
    sigmoid, R_k = 1/(1 + (1/R_0 − 1) e^(−2 η p_k T)). `initial` is R_0, `rate` is η.
    """
    p = closed_form.frequencies(alpha, n_quanta)
    growth = np.exp(np.clip(2 * rate * np.outer(np.asarray(time, dtype=np.float64), p), None, 300))
    return np.asarray((p / (1 + growth / (1 / initial - 1)) ** 2).sum(1))
