"""What theories say of the exponents in parameters, data and steps, with those measured on sparse parity.

Makes: `report/figures/accounts`.
"""

from typing import Any

import pandas as pd
from quanta import figures, storage, theory
from quanta.job import run

DASHES = ("-", "--", "-.", ":", (0, (1, 3)))


def main(inputs: Any, outputs: Any, params: Any) -> None:
    table = storage.read_table(inputs.accounts, ("account", "source", "alpha", "resource", "exponent"))
    measured = pd.DataFrame(storage.read_json(inputs.fits)["exponents"]).dropna(subset=["value"])
    paper = storage.read_table(inputs.paper, ("alpha", "resource", "exponent"))
    figure, axes = figures.canvas(params.look, columns=3, ratio=0.95)
    names = list(dict.fromkeys(table["account"]))
    for ax, resource in zip(axes[0], theory.RESOURCES, strict=True):
        for number, name in enumerate(names):
            mine = table[(table["account"] == name) & (table["resource"] == resource)]
            if len(mine):
                ax.plot(
                    mine["alpha"], mine["exponent"], ls=DASHES[number % len(DASHES)],
                    color=figures.PALETTE[number], lw=3 - 0.4 * number, label=name,
                )  # fmt: skip
        mine = measured[measured["resource"] == resource]
        ax.plot(mine["alpha"], mine["theory_finite"], "_", ms=9, mew=2, color="black", label="finite K, range fitted")
        ax.plot(mine["alpha"], mine["value"], "o", color=figures.DATA, label="parity, this run")
        theirs = paper[paper["resource"] == resource]
        ax.plot(theirs["alpha"], theirs["exponent"], "x", color=figures.NULL, label="parity, the paper")
        ax.set(xlabel="α", ylabel=figures.EXPONENTS[resource], xlim=(0, 1.05), ylim=(0, 1.25))
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=7)
    drawn = {
        "accounts": table,
        "parity, this run": measured[["alpha", "resource", "value", "theory_finite"]].rename(
            columns={"value": "exponent"}
        ),
        "parity, the paper": paper,
    }
    figures.save(figure, outputs, figures.panels(drawn))


if __name__ == "__main__":
    run(main, snakemake)  # noqa: F821
