"""How a report writes numbers: a value with its interval as text."""

from collections.abc import Mapping
from typing import Any


def value_with_interval(fit: Mapping[str, Any], digits: int = 3) -> str:
    """`0.083 [0.081, 0.085]`, the bare value if the fit has no interval, `no value` if its value is None."""
    value, interval = fit["value"], fit.get("interval")
    if value is None:
        return "no value"
    ends = f" [{interval[0]:.{digits}f}, {interval[1]:.{digits}f}]" if interval else ""
    return f"{value:.{digits}f}{ends}"
