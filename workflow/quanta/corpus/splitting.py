"""Which texts are trained on and which are held out, each text once."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import pandas as pd

from quanta.corpus import near_duplicates
from quanta.errors import QuantaError
from quanta.progress import log

HELD_OUT, TRAINING = "heldout", "training"


@dataclass(frozen=True)
class Document:
    """A text, where it comes from (`distribution/path` or `file:line`), and the part of the corpus it is of."""

    source: str
    text: str
    subset: str = ""


def distinct(documents: Iterable[Document], minimum_characters: int, *, repeated: bool = False) -> Iterator[Document]:
    """Leave out short documents and, after the first, those of equal text (unless `repeated` ones are kept, too)."""
    if repeated:
        yield from (document for document in documents if len(document.text) >= minimum_characters)
        return
    seen: set[bytes] = set()
    dropped = {"short": 0, "equal": 0}
    for document in documents:
        digest = hashlib.blake2b(document.text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
        if len(document.text) < minimum_characters:
            dropped["short"] += 1
        elif digest in seen:
            dropped["equal"] += 1
        else:
            seen.add(digest)
            yield document
    log.info("documents: %d kept, %d too short, %d equal to another", len(seen), dropped["short"], dropped["equal"])


def unit(source: str) -> float:
    """A number in [0, 1) that depends on a document's source alone, never on its content."""
    return int.from_bytes(hashlib.sha256(source.encode()).digest()[:8], "big") / 2**64


def split_of(source: str, heldout_share: float) -> str:
    """`heldout` for that share of sources, by a hash of the source; else `training`.

    A source whose hash is small comes early in `python_sources`, so the split takes another hash.
    """
    return HELD_OUT if unit("split:" + source) < heldout_share else TRAINING


def first_held_out(documents: Iterable[Document], heldout_share: float, number: int | None) -> Iterator[Document]:
    """Documents up to the one with which so many are held out; all where `number` is None."""
    held_out = 0
    for document in documents:
        yield document
        held_out += split_of(document.source, heldout_share) == HELD_OUT
        if held_out == number:
            return


def documents_table(
    documents: Iterable[Document], heldout_share: float, containment: float | None = None
) -> pd.DataFrame:
    """Columns source, split, text, subset; one row a document, in the order given.

    With `containment`, near duplicates (`duplicates.groups`) have the split of that of them whose source sorts first.

    Raises:
        QuantaError: there is no document at all, or none in a split that must have some.
    """
    rows = [(d.source, split_of(d.source, heldout_share), d.text, d.subset) for d in documents]
    table = pd.DataFrame(rows, columns=pd.Index(["source", "split", "text", "subset"]))
    if containment is not None and 0 < heldout_share < 1:
        table["split"] = _with_near_duplicates(table, heldout_share, containment)
    wanted = {HELD_OUT: heldout_share > 0, TRAINING: heldout_share < 1}
    for split, needed in wanted.items():
        if needed and not (len(table) and (table["split"] == split).any()):
            raise QuantaError(
                "corpus",
                f"{len(table)} documents, none of them for the split {split!r}",
                "at least one document a split",
                "lower corpus.minimum_characters, change corpus.heldout_share, or give a larger corpus",
            )
    return table


def _with_near_duplicates(table: pd.DataFrame, heldout_share: float, containment: float) -> "pd.Series[str]":
    group = table["source"].groupby(near_duplicates.groups(table["text"], containment))
    split = group.transform("min").map(lambda source: split_of(source, heldout_share))
    sizes = group.size()
    log.info(
        "near duplicates: %d documents in %d groups, the largest of %d; %d documents changed sides",
        *(sizes[sizes > 1].sum(), (sizes > 1).sum(), sizes.max() if len(sizes) else 0),
        (split != table["split"]).sum(),
    )
    return split
