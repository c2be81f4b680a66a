"""The page: one HTML file that holds a whole run, so that a reader needs neither server nor network.

Data travel in compressed chunks that the page unpacks when it needs them. Text of the corpus is hostile: it reaches the
page only inside of compressed chunks or escaped, and a content security policy lets no script run but the page's own,
which it names by hash.
"""

import base64
import hashlib
import json
import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

_DTYPES = ("uint8", "int8", "uint16", "uint32", "int32")


@dataclass(frozen=True)
class Chunk:
    """One compressed piece of data: raw deflate, then base64."""

    name: str
    kind: str  # json, or the dtype of an array
    shape: tuple[int, ...]
    text: str


def chunk(name: str, content: Any) -> Chunk:
    """An array (of a dtype that a browser has) or plain data as a chunk."""
    if isinstance(content, np.ndarray):
        if content.dtype.name not in _DTYPES:
            raise ValueError(f"chunk {name}: no typed array for {content.dtype.name}")
        raw = np.ascontiguousarray(content, dtype=content.dtype.newbyteorder("<")).tobytes()
        kind, shape = content.dtype.name, content.shape
    else:
        raw = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
        kind, shape = "json", ()
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return Chunk(name, kind, shape, base64.b64encode(packer.compress(raw) + packer.flush()).decode("ascii"))


def unpack(piece: Chunk) -> Any:
    """What `chunk` packed: the page's own unpacking, for tests and for readers of the file who use Python."""
    raw = zlib.decompress(base64.b64decode(piece.text), -zlib.MAX_WBITS)
    if piece.kind == "json":
        return json.loads(raw)
    return np.frombuffer(raw, dtype=piece.kind).reshape(piece.shape)


# ------------------------------------------------------------------------------------------------------ the file


def safe_json(content: Any) -> Markup:
    """JSON for a script element: no character in it can end the element or start a comment."""
    text = json.dumps(content, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)  # noqa: S704 (nothing of HTML is left in it)


def own_code(text: str, element: str) -> Markup:
    """The page's own script or style, to be put into the page as it is.

    Raises:
        ValueError: it would end its own element.
    """
    if f"</{element}" in text.lower() or "<!--" in text:
        raise ValueError(f"text that would end its <{element}>")
    return Markup(text)  # noqa: S704 (a file of the repository)


def policy(scripts: Sequence[str], styles: Sequence[str]) -> str:
    """Content security policy: only these scripts and styles, pictures from the page itself, no connection at all."""

    def hashes(texts: Sequence[str]) -> str:
        return " ".join(
            "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'" for text in texts
        )

    return "; ".join(
        [
            "default-src 'none'",
            f"script-src {hashes(scripts)}",
            "worker-src blob:",  # made by the page itself, for its search
            f"style-src {hashes(styles)}",
            "img-src blob:",
            "connect-src 'none'",
            "base-uri 'none'",
            "form-action 'none'",
        ]
    )


def picture(path: str | Path) -> str:
    """A PNG as base64."""
    return base64.b64encode(Path(path).read_bytes()).decode("ascii")


def html(
    template: str,
    *,
    scripts: Sequence[str],
    styles: Sequence[str],
    meta: Mapping[str, Any],
    chunks: Sequence[Chunk],
    pictures: Mapping[str, str],
    **context: Any,
) -> str:
    """The page. `meta` is what it knows at once (plain data), `pictures` are PNGs in base64 by name.

    Of `context`, which the template shows without any script, all text is escaped.
    """
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    index = {piece.name: {"kind": piece.kind, "shape": list(piece.shape)} for piece in chunks}
    return environment.from_string(template).render(
        policy=policy(scripts, styles),
        scripts=[own_code(text, "script") for text in scripts],
        styles=[own_code(text, "style") for text in styles],
        meta=safe_json({**meta, "chunks": index}),
        chunks=chunks,
        pictures=pictures,
        **context,
    )


_PICTURE = re.compile(r'<script type="application/octet-stream" id="picture-[^"]*">[^<]*</script>\n?')
_META = re.compile(r'(<script type="application/json" id="meta">)([^<]*)(</script>)')


def without_figures(page: str) -> str:
    """A page of `html` without its figures, which are four fifths of it: small enough for a site. All else works as before."""
    bare = _PICTURE.sub("", page)

    def emptied(found: re.Match[str]) -> str:
        return found[1] + str(safe_json({**json.loads(found[2]), "figures": []})) + found[3]

    return _META.sub(emptied, bare, count=1)
