"""What theories say of the exponents in parameters, data and steps, with those measured on sparse parity.

Makes: `report/figures/accounts`.
"""

from typing import Any

import pandas as pd
from quanta.jobs.job import run
from quanta.report import drawing
from quanta.storage import files
from quanta.theory import closed_form

DASHES = ("-", "--", "-.", ":", (0, (1, 3)))


def main(inputs: Any, outputs: Any, params: Any) -> None:
    table = files.read_table(inputs.accounts, ("account", "source", "alpha", "resource", "exponent"))
    measured = pd.DataFrame(files.read_json(inputs.fits)["exponents"]).dropna(subset=["value"])
    paper = files.read_table(inputs.paper, ("alpha", "resource", "exponent"))
    figure, axes = drawing.canvas(params.look, columns=3, ratio=0.95)
    names = list(dict.fromkeys(table["account"]))
    for ax, resource in zip(axes[0], closed_form.RESOURCES, strict=True):
        for number, name in enumerate(names):
            mine = table[(table["account"] == name) & (table["resource"] == resource)]
            if len(mine):
                ax.plot(
                    mine["alpha"], mine["exponent"], ls=DASHES[number % len(DASHES)],
                    color=drawing.PALETTE[number], lw=3 - 0.4 * number, label=name,
                )  # fmt: skip
        mine = measured[measured["resource"] == resource]
        ax.plot(mine["alpha"], mine["theory_finite"], "_", ms=9, mew=2, color="black", label="finite K, range fitted")
        ax.plot(mine["alpha"], mine["value"], "o", color=drawing.DATA, label="parity, this run")
        theirs = paper[paper["resource"] == resource]
        ax.plot(theirs["alpha"], theirs["exponent"], "x", color=drawing.NULL, label="parity, the paper")
        ax.set(xlabel="α", ylabel=drawing.EXPONENTS[resource], xlim=(0, 1.05), ylim=(0, 1.25))
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=7)
    drawn = {
        "accounts": table,
        "parity, this run": measured[["alpha", "resource", "value", "theory_finite"]].rename(
            columns={"value": "exponent"}
        ),
        "parity, the paper": paper,
    }
    drawing.save(figure, outputs, drawing.panels(drawn))


if __name__ == "__main__":
    run(main, snakemake)  # noqa: F821
