"""Density p(L) of token losses and the integrand L·p(L), along size or step (the paper's figure 4, middle).

Makes: `report/figures/density_{axis}`.
"""

import json
from typing import Any

import pandas as pd
from quanta.jobs.job import run
from quanta.report import drawing
from quanta.storage import files

SMOOTHED_TO = 150  # bins that are drawn: finer ones are noise to the eye


def main(inputs: Any, outputs: Any, params: Any) -> None:
    table = files.read_table(inputs.density, ("model", "step", "loss_bits", "density_per_bit", "n_predictions"))
    members = [tuple(member) for member in json.loads(params.members)]
    one_model = len({model for model, _ in members}) == 1
    parts = {key: part for key, part in table.groupby(["model", "step"]) if key in members}
    figure, axes = drawing.canvas(params.look, columns=2, ratio=0.85)
    drawn = []
    few = len(members) < 7
    for index, (colour, (model, step)) in enumerate(zip(drawing.shades(len(members)), members, strict=True)):
        part = parts[model, step]
        group = max(len(part) // SMOOTHED_TO, 1)
        whole = len(part) // group * group
        bits = part["loss_bits"].to_numpy()[:whole].reshape(-1, group).mean(axis=1)
        density = part["density_per_bit"].to_numpy()[:whole].reshape(-1, group).mean(axis=1)
        drawn.append(
            pd.DataFrame(
                {
                    "model": model,
                    "step": step,
                    "loss_bits": bits,
                    "density_per_bit": density,
                    "loss_times_density": bits * density,
                }
            )
        )
        label = f"step {step}" if one_model else model
        marks = {"marker": drawing.marker(index), "ms": 3, "markevery": (2 * index + 1, 12)} if few else {}
        axes[0, 0].plot(bits, density, color=colour, label=label, lw=1.1, **marks)
        axes[0, 1].plot(bits, bits * density, color=colour, lw=1.1, **marks)
    axes[0, 0].set(
        yscale="log", xlabel="loss L (bits)", ylabel="density p(L) (per bit)", xlim=(0, 20), ylim=(1e-4, None)
    )
    first = len(members) // 2 if one_model else 0
    # an untrained model's losses are one narrow peak, which would press the others flat
    later = max(line.get_ydata().max() for line in axes[0, 1].lines[first:])
    axes[0, 1].set(xlabel="loss L (bits)", ylabel="L · p(L)", xlim=(0, 20), ylim=(0, 1.3 * later))
    if few:
        axes[0, 0].legend(fontsize=7)
    else:  # inside, so many names would cover the curves
        figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=5, fontsize=7)
    drawing.save(figure, outputs, pd.concat(drawn, ignore_index=True))


if __name__ == "__main__":
    run(main, snakemake)  # noqa: F821
