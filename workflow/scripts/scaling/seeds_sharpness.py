"""How many sharp drops of single tokens between sizes are luck of the seed: those of one seed, looked for in the others.

Makes: `scaling/seeds_sharpness.csv` (kind, threshold_nats, of, recurs_in, n, n_other, share, low, high, expected),
`scaling/seeds_drops.csv` (one seed's drop against another's, in bins), and `scaling/seeds_sharpness.json` with the main
numbers. Only the sizes that have several seeds take part.
"""

import json
from typing import Any

import numpy as np
from quanta.corpus import encoding, resampling
from quanta.jobs.job import run
from quanta.losses import stored
from quanta.models.family import FAMILY_COLUMNS, in_order
from quanta.scaling import recurrence
from quanta.storage import files


def main(inputs: Any, outputs: Any, params: Any) -> None:
    tokens = encoding.load_tokens(inputs.tokens, inputs.offsets)
    family = files.read_table(inputs.family, FAMILY_COLUMNS)
    by_seed = json.loads(params.seeded)
    lines = {
        seed: in_order([(model, params.final_step) for model in models], family) for seed, models in by_seed.items()
    }
    given = [(model, params.final_step) for models in by_seed.values() for model in models]
    paths = dict(zip(given, inputs.losses, strict=True))
    index = np.flatnonzero(tokens.predicted())[: params.predictions]
    curves = np.stack(
        [np.stack([stored.read_losses(paths[member], tokens)[index] for member in line]) for line in lines.values()]
    )
    names = [int(seed) for seed in lines]
    text = resampling.texts_of_documents(inputs.documents, tokens.n_documents)
    table = recurrence.compare(
        curves,
        names,
        text[tokens.place(index)[0]],
        above=params.above,
        below=params.below,
        drop=params.drop,
        share=params.share,
        draws=params.draws,
        seed=params.seed,
    )
    files.write_table(outputs.table, table)
    files.write_table(outputs.drops, recurrence.drops_table(curves))
    sizes = family.set_index(["model", "step"])["non_embedding_parameters"]

    def fit(kind: str, where: str) -> dict[str, Any]:
        found = table[(table["kind"] == kind) & (table["recurs_in"] == where)]
        if kind == "drop":
            found = found[found["threshold_nats"] == params.drop]
        row = found.iloc[0]
        seen = bool(row["n"] > 0)
        return {
            "value": float(row["share"]) if seen else None,
            "interval": [float(row["low"]), float(row["high"])] if seen else None,
            "expected": float(row["expected"]) if seen else None,
            "n": float(row["n"]),
            "n_other": float(row["n_other"]),
        }

    files.write_json(
        outputs.numbers,
        {
            "seeds": names,
            "models": by_seed,
            "non_embedding_parameters": [int(sizes[member]) for member in next(iter(lines.values()))],
            "predictions": len(index),
            "drop_nats": params.drop,
            "recurs": {
                kind: {where: fit(kind, where) for where in (recurrence.ANOTHER, recurrence.AVERAGE, recurrence.OTHERS)}
                for kind in ("drop", "sharp", "monogenic", "polygenic")
            },
            "correlation_of_drops": recurrence.correlation(curves),
            "method": f"share of one seed's marks that recur, over ordered pairs of seeds; 90 %, {params.draws} bootstrap draws of "
            f"{resampling.UNIT}; expected: the other's own rate between the same model sizes",
        },
    )


if __name__ == "__main__":
    run(main, snakemake)  # noqa: F821
