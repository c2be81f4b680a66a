"""Two-dimensional layout of the selected tokens, for the map on the page.

Makes: `qdg/layout.parquet` (token, x, y).
"""

from typing import Any

import pandas as pd
from quanta.catalogue import token_map
from quanta.jobs.job import run
from quanta.storage import files


def main(inputs: Any, outputs: Any, params: Any) -> None:
    embedding = files.read_array(inputs.embedding, dtype="float64", shape=(None, None), finite=True)
    places = token_map.layout(embedding, seed=params.seed)
    table = pd.DataFrame({"token": range(len(places)), "x": places[:, 0], "y": places[:, 1]})
    files.write_table(outputs.layout, table)


if __name__ == "__main__":
    run(main, snakemake)  # noqa: F821
