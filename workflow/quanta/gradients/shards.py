"""Shards: the gradients of a part of the tokens as a file, with how they were made beside it.

Apart from `engine`, which makes them, so that what only joins them does not import torch.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from quanta.arrays import Array, Float32
from quanta.errors import QuantaError
from quanta.storage import files


def write(path: str | Path, features: Array, losses: Array, said: Mapping[str, Any]) -> None:
    """Write features to `path` (.npy), losses and the record beside it (.json); the record comes last, and says it is whole."""
    path = Path(path)
    files.write_array(path, features)
    content = {**said, "rows": len(features), "losses_nats": [float(x) for x in losses]}
    files.write_json(path.with_suffix(".json"), content)


def read(paths: Sequence[str | Path]) -> tuple[list[Array], Float32[Array, " n"], dict[str, Any]]:
    """Features of consecutive shards (memory-mapped), all their losses in nats, and their record.

    Raises:
        QuantaError: a shard is missing or damaged, or two were not made the same way (what differs is named).
    """
    shards: list[Array] = []
    losses: list[float] = []
    first: dict[str, Any] = {}
    for path in map(Path, paths):
        side = path.with_suffix(".json")
        if not side.is_file():
            raise QuantaError(str(side), "missing: the shard is not whole", "the record of each shard", files.RERUN)
        content = files.read_json(side)
        first = first or content
        differ = [key for key in first["same"] if first["same"][key] != content.get("same", {}).get(key)]
        if differ:
            key = differ[0]
            raise QuantaError(
                str(path),
                f"{key} {content.get('same', {}).get(key)!r}, while {paths[0]} has {first['same'][key]!r}",
                f"shards of one {', one '.join(first['same'])}",
                "make the shards that differ again; machines may differ, settings may not",
            )
        shape = (content["rows"], first["same"]["features"])
        shards.append(files.read_array(path, dtype="float32", shape=shape, why="as its record says"))
        losses += content["losses_nats"]
    said = {key: first[key] for key in ("same", "parameter_set")} if first else {}
    return shards, np.asarray(losses, dtype=np.float32), said
