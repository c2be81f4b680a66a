"""Are the clusters real: stability against size, and skill against purity in the target token.

Makes: `report/figures/stability`.
"""

from typing import Any

from quanta.jobs.job import run
from quanta.report import drawing
from quanta.storage import files


def main(inputs: Any, outputs: Any, params: Any) -> None:
    names = ("n_clusters", "label", "size", "stability_halves", "stability_seeds", "purity_target", "skill")
    table = files.read_table(inputs.clusters, names)
    table = table[table["n_clusters"] == params.show]
    figure, axes = drawing.canvas(params.look, columns=2, ratio=0.9)
    left, right = axes[0]
    for column, name, marker, colour in (
        ("stability_seeds", "other seeds", ".", drawing.DATA),
        ("stability_halves", "halves of the tokens", "x", drawing.FIT),
    ):
        left.plot(
            table["size"],
            table[column],
            marker,
            ms=4,
            color=colour,
            label=f"{name}: median {table[column].median():.2f}",
        )
    left.set(xscale="log", xlabel="tokens in cluster", ylabel="best Jaccard index", ylim=(0, 1.02),
             title=f"Stability, {params.show} clusters")  # fmt: skip
    left.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2))
    right.plot(table["purity_target"], table["skill"], ".", color=drawing.DATA)
    right.axhline(0.5, color=drawing.NULL, ls="--", lw=1, label="mere token identity")
    right.set(xlabel="share of the commonest target token", ylabel="skill beyond identity (area)", ylim=(0, 1.02),
              title="Skill or token")  # fmt: skip
    right.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2))
    drawing.save(figure, outputs, table[list(names)])


if __name__ == "__main__":
    run(main, snakemake)  # noqa: F821
