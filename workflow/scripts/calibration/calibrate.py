"""The exponent that the simulations give for the data, its interval, and how often such intervals cover the truth.

Makes: `calibration/simulations.parquet` (all of them), `coverage.csv` (held-out simulations), `estimators.csv` (every
estimator on these), `resolution.csv` (α against the cosine threshold) and `fits.json`. Data of more tokens than were
simulated are thinned evenly. Where the affinity is of a sample of the tokens, all of this is.
"""

from typing import Any

import numpy as np
import pandas as pd
from quanta import arrays
from quanta.affinity import cosine
from quanta.calibration import estimators, regression, simulations
from quanta.corpus import resampling
from quanta.jobs.job import run
from quanta.rank_frequency import collisions
from quanta.storage import files


def main(inputs: Any, outputs: Any, params: Any) -> None:
    table = pd.concat([files.read_table(path) for path in inputs.simulations], ignore_index=True)
    table = table.sort_values("simulation", kind="stable", ignore_index=True)
    known, held_out = regression.split(table, params.held_out)
    fitted = regression.Calibration(known, seed=params.seed)
    coverage = fitted.coverage(held_out)
    files.write_table(outputs.simulations, table)
    files.write_table(outputs.coverage, coverage)
    files.write_table(outputs.estimators, estimators.compare_estimators(held_out, coverage))

    cosines = cosine.read_affinity(inputs.affinity)
    document = files.read_table(inputs.selection, ("token", "document"))["document"].to_numpy()
    n_tokens = len(document)
    n_documents = len(files.read_array(inputs.offsets, dtype="int64", shape=(None,))) - 1
    text = resampling.texts_of_documents(inputs.documents, n_documents)[document]
    thinned, chosen = regression.thinned(cosines, regression.n_tokens(table))
    found = simulations.summaries(thinned)
    posterior = fitted.infer(found)
    curve = collisions.resolution_curve(
        cosines,
        np.array(collisions.RESOLUTIONS),
        estimators.QUANTA,
        groups=text[arrays.evenly(n_tokens, len(cosines))],
    )
    files.write_table(outputs.resolution, pd.DataFrame(curve))
    best = estimators.best_resolution(known, posterior.value)
    at_best = min(curve, key=lambda row: abs(row["threshold"] - best))
    files.write_json(
        outputs.fits,
        {
            "alpha": posterior.as_json()
            | {
                "interval_method": "90 %, from the nearest simulations (approximate Bayesian computation); it covers sampling "
                "of tokens and all that the prior leaves open",
                "sketch_deviation": _sketch_deviation(
                    inputs.features, arrays.evenly(n_tokens, len(cosines))[chosen], fitted
                ),
                "n_tokens": len(chosen),
                "n_simulations": len(known),
            },
            "alpha_by_collisions": {
                "value": at_best["alpha"],
                "interval": [at_best["low"], at_best["high"]],
                "threshold": at_best["threshold"],
                "method": "pairs above the cosine threshold that errs least on simulations of about this α; the interval is "
                "the sampling of whole texts alone",
            },
            "coverage": {
                "nominal": regression.LEVEL,
                "found": float(coverage["covered"].mean()),
                "found_where_alike": _mean(coverage.loc[coverage["verdict"] == regression.ALIKE, "covered"]),
                "cannot_tell": float((coverage["verdict"] != regression.ALIKE).mean()),
                "n": len(coverage),
            },
            "summaries": found,
        },
    )


def _mean(values: pd.Series) -> float | None:
    return float(values.mean()) if len(values) else None


def _sketch_deviation(paths: list[str], chosen: np.ndarray, fitted: regression.Calibration) -> float | None:
    """Deviation of α between sketches: the two halves of the features are sketches of their own, of half the size."""
    if not paths:
        return None
    features = files.read_array(paths[0], dtype="float32", shape=(None, None))
    middle = features.shape[1] // 2
    if not all(np.abs(features[chosen, half]).any(axis=1).all() for half in (slice(0, middle), slice(middle, None))):
        return None  # the model has fewer parameters than the features have places: nothing was folded
    values = []
    for half in (slice(0, middle), slice(middle, None)):
        unit = cosine.unit_rows(np.asarray(features[:, half][chosen]))
        values.append(fitted.infer(simulations.summaries(np.clip(unit @ unit.T, -1, 1))).value)
    # twice the variance lies between two halves, each of twice the variance of the whole
    return float(abs(values[0] - values[1]) / 2)


if __name__ == "__main__":
    run(main, snakemake)  # noqa: F821
