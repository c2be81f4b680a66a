"""What several test modules need: where things are, small corpora, scripts as functions."""

import importlib.util
import json
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import yaml
from hypothesis import strategies as st
from quanta.config import members as settings
from quanta.config import schema
from quanta.corpus.encoding import Tokens
from scipy.stats import binom

ROOT = Path(__file__).resolve().parent.parent
SCRIPTS = ROOT / "workflow/scripts"
SCHEMA = schema.read_schema(ROOT / "config/schema.yaml")
ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=80)  # all but lone surrogates, which are no UTF-8
# configurations that are laid over pythia.yaml
OVER_PYTHIA = {
    "pythia-laptop",
    "pythia-hour",
    "pythia-day",
    "pythia-today",
    "pythia-deduped",
    "pythia-deduped-v0",
    "polypythias",
    "gpt2",
    "olmo",
    "tinystories",
}

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
    return schema.settle(json.loads(json.dumps(changes)), SCHEMA)


def read(name: str) -> settings.Config:
    return yaml.safe_load((ROOT / "config" / name).read_text(encoding="utf-8"))


def over_default(changes: settings.Config) -> settings.Config:
    """Changes laid over config/config.yaml, as Snakemake lays a file."""
    return schema.over(read("config.yaml"), changes)


def at_key(path: Path, key: str) -> Any:
    """What a file of a run has under a key of report/paper_against_ours.csv (its grammar: quanta/report/comparison.py)."""
    if match := re.fullmatch(r"(.+) / (.+)", key):
        return at_key(path, match[1]) / max(at_key(path, match[2]), 1)
    if match := re.fullmatch(r"-(.+) - 1", key):
        fit = at_key(path, match[1])
        return {"value": -fit["value"] - 1, "interval": [-end - 1 for end in reversed(fit["interval"])]}
    if key.startswith("largest "):
        return at_key(path, key.removeprefix("largest ")).max()
    found: Any = pd.read_csv(path) if path.suffix == ".csv" else json.loads(path.read_text(encoding="utf-8"))
    for name, wanted in re.findall(r"\.?([^.\[\]]+)|\[([^\]]*)\]", key):
        if name:
            found = found[name]
            continue
        rows = found if isinstance(found, pd.DataFrame) else pd.DataFrame({"entry": found}).join(pd.DataFrame(found))
        for column, value in (part.split("=", 1) for part in wanted.split("; ")):
            numeric = pd.api.types.is_numeric_dtype(rows[column])
            same = np.isclose(rows[column], float(value)) if numeric else rows[column].map(_plain) == value
            rows = rows[same]
        assert len(rows), f"{path} has nothing at {key}"
        if isinstance(found, pd.DataFrame):
            found = rows
        else:
            assert len(rows) == 1, f"{path} has {len(rows)} entries at {key}"
            found = rows["entry"].iloc[0]
    return found


def _plain(value: Any) -> str:
    return "None" if value is None or value != value else str(value)


def is_shown_as(value: Any, text: str) -> bool:
    """Whether a report's text begins with a value of a file, to as many digits as the text gives."""
    if isinstance(value, dict):
        value = value["value"] if value["value"] is None else [value["value"], *(value.get("interval") or ())]
    if isinstance(value, str):
        return text == value
    values = list(value) if isinstance(value, list | pd.Series) else [value]
    if all(one is None or not np.isfinite(one) for one in values):
        return text.startswith(("no value", "no slope", "none"))
    shown = re.findall(r"none|-?\d+(?:\.\d+)?(?:e[+-]\d+)?", text)
    if len(shown) < len(values):
        return False
    return all(
        word == "none" if not np.isfinite(one) else word == f"{one:.{_digits(word)}{'e' if 'e' in word else 'f'}}"
        for one, word in zip(values, shown, strict=False)
    )


def _digits(number: str) -> int:
    return len(number.partition("e")[0].partition(".")[2])


def script(name: str) -> Main:
    """The `main` of a script, imported and not run."""
    spec = importlib.util.spec_from_file_location(f"script_{name.replace('/', '_')}", SCRIPTS / f"{name}.py")
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
    """A job as `squeue` is asked for it by `quanta.jobs.slurm.jobs`."""
    return f"{number}|{name}|{state}|{reason}|{folder}\n"


def names(**values: Any) -> SimpleNamespace:
    """Inputs, outputs or params of a script; paths as the strings that Snakemake gives."""
    return SimpleNamespace(**{key: str(v) if isinstance(v, Path) else v for key, v in values.items()})


def close_labels(one: Any, other: Any) -> bool:
    """Whether two clusterings are equal up to the names of the clusters."""
    pairs = set(zip(list(one), list(other), strict=True))
    return len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})
