"""Manifests: what models were trained and evaluated on, file by file, and what of it is here."""

import hashlib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import pandas as pd

from quanta.corpus.splitting import HELD_OUT, TRAINING, Document
from quanta.errors import QuantaError
from quanta.progress import log
from quanta.storage import files

COLUMNS = ("source", "split", "sha256", "characters", "version")


def of(table: pd.DataFrame, versions: Mapping[str, str]) -> pd.DataFrame:
    """What models are trained and evaluated on, by source: enough to know it again, without the texts.

    Args:
        table: of `sources.documents_table`.
        versions: of the distributions by name, if the corpus is made of them.

    Returns:
        columns source, split, sha256 (of the text in UTF-8, first 16 hexadecimal digits), characters, version (of the
        source's distribution, else empty).
    """
    rows = [
        (source, split, _fingerprint(text), len(text), versions.get(_origin(source), ""))
        for source, split, text in zip(table["source"], table["split"], table["text"], strict=True)
    ]
    return pd.DataFrame(rows, columns=pd.Index(COLUMNS)).sort_values("source", ignore_index=True)


def read(path: str | Path) -> pd.DataFrame:
    """Read a manifest that was written as CSV.

    Raises:
        QuantaError: the file is no manifest, or holds nothing out.
    """
    found = files.read_table(path, COLUMNS, text=True)
    sound = found["split"].isin([HELD_OUT, TRAINING]) & found["characters"].str.fullmatch(r"\d+")
    if not sound.all() or not (found["split"] == HELD_OUT).any() or found["source"].duplicated().any():
        raise QuantaError(
            str(path),
            f"{len(found)} rows, {(~sound).sum()} of them unsound",
            f"each source once, its split ({HELD_OUT} or {TRAINING}) and characters, at least one of them {HELD_OUT}",
            "fetch the file again, with the weights that it belongs to",
        )
    return found.astype({"characters": "int64"})


def agree(
    documents: Iterable[Document], manifest: pd.DataFrame, versions: Mapping[str, str], least: float
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Of the documents found here, those that the manifest knows, with its split: no held-out one was trained on.

    Args:
        documents: may repeat each other; the manifest says which of equal ones count.
        manifest: of the models' training (`of`).
        versions: of the distributions that are installed here.
        least: share of the manifest's held-out characters that must be left.

    Returns:
        the table as `sources.documents_table` makes it; and a table source, difference of those left out: `changed`, `absent`,
        or `new`, sorted by source. Files that equal one of the manifest's are no news.

    Raises:
        QuantaError: fewer held-out characters are left.
    """
    split, expected = (dict(zip(manifest["source"], manifest[key], strict=True)) for key in ("split", "sha256"))
    texts = set(expected.values())
    rows: list[tuple[str, str, str, str]] = []
    differences, taken = dict.fromkeys(expected, "absent"), set()
    for document in documents:
        found = _fingerprint(document.text)
        if document.source in taken:
            continue
        if expected.get(document.source) == found:
            rows.append((document.source, split[document.source], document.text, document.subset))
            taken.add(document.source)
            del differences[document.source]
        elif document.source in expected:
            differences[document.source] = "changed"
        elif found not in texts:
            differences[document.source] = "new"
    table = pd.DataFrame(rows, columns=pd.Index(["source", "split", "text", "subset"]))
    different = pd.DataFrame(sorted(differences.items()), columns=pd.Index(["source", "difference"]))
    trained = {
        _origin(source): version for source, version in zip(manifest["source"], manifest["version"], strict=True)
    }
    _report(different, trained, versions)
    left = int(table.loc[table["split"] == HELD_OUT, "text"].str.len().sum())
    wanted = int(manifest.loc[manifest["split"] == HELD_OUT, "characters"].sum())
    if left == 0 or left < least * wanted:
        others = [
            f"{name}=={then.split('+')[0]}" for name, then in trained.items() if then and versions.get(name) != then
        ]
        raise QuantaError(
            "corpus",
            f"{left} of the {wanted} held-out characters of the models' corpus are here as they were",
            f"at least a share of {least:g} (corpus.minimum_agreement)",
            f"pip install {' '.join(others)}" if others else "give the corpus that the models were trained on",
        )
    log.info("%d of %d documents agree with the manifest; %d of %d held-out characters are left",
             len(table), len(manifest), left, wanted)  # fmt: skip
    return table, different


def _report(different: pd.DataFrame, trained: Mapping[str, str], versions: Mapping[str, str]) -> None:
    """One warning a distribution (or file of texts): how many documents differ, and the first of them."""
    for name, part in different.groupby(different["source"].map(_origin)):
        parts = [
            f"{len(sources)} {difference} ({', '.join(sources[:3])}{', …' if len(sources) > 3 else ''})"
            for difference, sources in part.groupby("difference")["source"].agg(list).items()
        ]
        then, now = trained.get(str(name)) or "not in the models' corpus", versions.get(str(name)) or "not in this one"
        log.warning("%s (%s; here: %s): left out are %s", name, then, now, ", ".join(parts))


def _origin(source: str) -> str:
    """Distribution or file of texts that a source is of."""
    return re.split("[/:]", source, maxsplit=1)[0]


def _fingerprint(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
