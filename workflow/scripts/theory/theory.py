"""The quantization model: exact and asymptotic losses, simulated learners, published exponents, other accounts.

Makes: `losses.csv`, `simulation.csv`, `accounts.csv`, `published.csv` and `fits.json` under `theory/`.
"""

from typing import Any

import numpy as np
import pandas as pd
from quanta.jobs.job import run
from quanta.storage import files as storage_files
from quanta.streams import Purpose, generator
from quanta.theory import accounts, closed_form, published_exponents


def main(inputs: Any, outputs: Any, params: Any) -> None:
    largest = params.n_quanta
    n = np.unique(np.geomspace(1, largest - 1, 60).round())
    sizes = [int(size) for size in np.geomspace(10 * params.threshold, 1e6, 20).round()]
    losses, simulation = [], []
    for number, alpha in enumerate(params.alphas):
        curve = {
            "alpha": alpha,
            "learned": n,
            "loss": closed_form.loss(n, alpha, n_quanta=largest),
            "loss_infinite": closed_form.loss(n, alpha),
            "loss_asymptote": closed_form.loss_asymptote(n, alpha),
            "loss_by_frequency_nats": closed_form.loss_by_frequency(n, alpha, n_quanta=largest),
        }
        for resource in closed_form.RESOURCES:
            curve[f"slope_{resource}"] = closed_form.local_slope(n, alpha, resource, n_quanta=largest)
        losses.append(pd.DataFrame(curve))
        rng = generator(params.seed, Purpose.THEORY_LEARNER, number)
        drawn = closed_form.simulate_data(
            sizes, alpha, largest, threshold=params.threshold, draws=params.draws, rng=rng
        )
        learned = closed_form.quanta_of_samples(np.array(sizes), alpha, threshold=params.threshold, n_quanta=largest)
        simulation.append(
            pd.DataFrame(
                {
                    "alpha": alpha,
                    "samples": sizes,
                    "simulated_loss": drawn.mean(axis=0),
                    "standard_error": drawn.std(axis=0, ddof=1) / len(drawn) ** 0.5,
                    "expected_loss": closed_form.expected_data_loss(sizes, alpha, largest, threshold=params.threshold),
                    "sharp_loss": closed_form.unlearned_share(learned, alpha, largest),
                }
            )
        )
    storage_files.write_table(outputs.losses, pd.concat(losses, ignore_index=True))
    simulated = pd.concat(simulation, ignore_index=True)
    storage_files.write_table(outputs.simulation, simulated)
    storage_files.write_table(outputs.accounts, accounts.account_table([round(0.05 * i, 2) for i in range(1, 25)]))
    files = [published_exponents.PUBLISHED, *([params.exponents] if params.exponents else [])]
    published, counts = published_exponents.residuals(published_exponents.read_exponents(*files), params.factor)
    storage_files.write_table(outputs.published, published)
    off = (simulated["simulated_loss"] - simulated["expected_loss"]).abs() / simulated["standard_error"].clip(
        lower=1e-12
    )
    known = simulated["standard_error"] > 0
    storage_files.write_json(
        outputs.fits,
        {
            "published": counts,
            "simulation": {
                "largest_deviation_standard_errors": float(off[known].max()),
                "points": int(known.sum()),
            },
        },
    )


if __name__ == "__main__":
    run(main, snakemake)  # noqa: F821
