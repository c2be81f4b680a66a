"""What several test modules need: where things are, small corpora, scripts as functions."""

import importlib.util
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import yaml
from hypothesis import strategies as st
from quanta import config as settings
from quanta.corpus import Tokens
from scipy.stats import binom

ROOT = Path(__file__).resolve().parent.parent
SCRIPTS = ROOT / "workflow/scripts"
SCHEMA = settings.read_schema(ROOT / "config/schema.yaml")
ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=80)  # all but lone surrogates, which are no UTF-8

Main = Callable[[Any, Any, Any], None]


def counted_as_nominal(covered: int, number: int, nominal: float = 0.9) -> bool:
    """Whether so many of the intervals may hold the truth at this level: within 99 % of the binomial law, on both sides."""
    low, high = binom.interval(0.99, number, nominal)
    return bool(low <= covered <= high)


def tokens_of(documents: Iterable[Sequence[int]], dtype: Any = np.uint16) -> Tokens:
    """A corpus of the given token ids, one sequence a document."""
    documents = [np.asarray(document, dtype=dtype) for document in documents]
    offsets = np.concatenate([[0], np.cumsum([len(d) for d in documents])]).astype(np.int64)
    return Tokens(np.concatenate([*documents, np.empty(0, dtype)]), offsets)


def random_tokens(lengths: Sequence[int], vocabulary: int, seed: int = 0) -> Tokens:
    """A corpus of random ids with documents of the given lengths."""
    rng = np.random.default_rng(seed)
    return tokens_of(rng.integers(0, vocabulary, n) for n in lengths)


def settled(**changes: Any) -> settings.Config:
    """The default configuration with some keys changed: `settled(qdg={"tokens": 10})`."""
    return settings.settle(json.loads(json.dumps(changes)), SCHEMA)


def read(name: str) -> settings.Config:
    return yaml.safe_load((ROOT / "config" / name).read_text(encoding="utf-8"))


def over(base: settings.Config, other: settings.Config) -> settings.Config:
    """As Snakemake puts one configuration file over another: sections are merged, lists replaced."""
    merged = dict(base)
    for key, value in other.items():
        merged[key] = over(base.get(key, {}), value) if isinstance(value, dict) else value
    return merged


def over_default(changes: settings.Config) -> settings.Config:
    """Changes laid over config/config.yaml, as Snakemake lays a file."""
    return over(read("config.yaml"), changes)


def script(name: str) -> Main:
    """The `main` of a script, imported and not run."""
    spec = importlib.util.spec_from_file_location(f"script_{name}", SCRIPTS / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    main: Main = module.main
    return main


def programs(folder: Path, **bodies: str) -> str:
    """Shell scripts of these names and bodies in a folder, made if need be; returns a PATH on which they come first."""
    folder.mkdir(exist_ok=True)
    for name, body in bodies.items():
        (folder / name).write_text(f"#!/bin/sh\n{body}\n", encoding="utf-8")
        (folder / name).chmod(0o755)
    return f"{folder}:/usr/bin:/bin"


def queued(
    number: int, folder: Path | str, state: str = "RUNNING", reason: str = "None", name: str = "quanta_1"
) -> str:
    """A job as `squeue` is asked for it by `quanta.cluster.jobs`."""
    return f"{number}|{name}|{state}|{reason}|{folder}\n"


def names(**values: Any) -> SimpleNamespace:
    """Inputs, outputs or params of a script; paths as the strings that Snakemake gives."""
    return SimpleNamespace(**{key: str(v) if isinstance(v, Path) else v for key, v in values.items()})


def close_labels(one: Any, other: Any) -> bool:
    """Whether two clusterings are equal up to the names of the clusters."""
    pairs = set(zip(list(one), list(other), strict=True))
    return len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})
