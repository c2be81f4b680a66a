"""Tokens as text, to be shown: one decoder for every fast tokenizer."""

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

from tokenizers import Tokenizer

from quanta.corpus import vocabulary

BYTE = re.compile(r"<0x([0-9A-Fa-f]{2})>")
# what a decoder of words puts no blank before, as the decoder of BERT's tokenizer does
ATTACHED = re.compile(r"[.,?!:;)\]}%'’”…]+")


class Texts:
    """Tokens back as text, for contexts in the report: a string a token, bytes that are no UTF-8 in hexadecimal.

    Strings of a document's tokens join to its text, as far as the tokenizer keeps it; a character that several tokens share
    is whole in `joined` alone. What a token's symbol means is read from the tokenizer's decoder, or from its other parts
    where it has none:

    - byte-level: each letter is a byte (GPT-2, Pythia, Llama 3, Qwen);
    - a mark for a blank, with or without tokens for single bytes `<0x0A>` (SentencePiece: Llama 2, Mistral, Gemma, T5);
    - a mark within words: tokens without it begin with a blank (WordPiece: BERT), or a mark at their end (GPT-1, CLIP);
    - whole words, with a blank before each.

    Special tokens are shown as they are spelled.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        whole = json.loads(tokenizer.to_str())
        self._special = {token["id"] for token in whole["added_tokens"] if token["special"]}
        parts = {part["type"]: part for part in _parts(whole)}
        model = whole["model"]
        self._bytes = {c: byte for byte, c in vocabulary.byte_alphabet().items()} if "ByteLevel" in parts else {}
        self._marks = list(_marks(parts, whole))
        self._within, self._end = "", ""
        if not self._bytes and not self._marks:
            self._within = _named(parts.get("WordPiece"), "prefix") or _named(model, "continuing_subword_prefix")
            self._end = _named(parts.get("BPEDecoder"), "suffix") or _named(model, "end_of_word_suffix")
        # tokens that begin words have no blank of their own where the text was cut at blanks, which were dropped
        self._words = bool(self._within) or (
            not self._bytes and not self._marks and not self._end and _drops_blanks(whole["pre_tokenizer"])
        )

    def of(self, token: int) -> str:
        """Text of one token id (ids past the vocabulary, which padded models may emit, as `<id>`)."""
        return _read(self._raw(int(token)))

    def joined(self, tokens: Iterable[int]) -> str:
        """Text of tokens that follow each other: only a character that begins before them or ends after them is in hexadecimal."""
        return _read(b"".join(self._raw(int(token)) for token in tokens))

    def _raw(self, token: int) -> bytes:
        """The bytes that a token stands for."""
        symbol = self._tokenizer.id_to_token(token)
        if symbol is None:
            return f"<{token}>".encode()
        if token in self._special:
            return symbol.encode()
        if self._bytes:
            try:
                return bytes(self._bytes[character] for character in symbol)
            except KeyError:  # an added token, which is spelled as it is
                return symbol.encode()
        if byte := BYTE.fullmatch(symbol):
            return bytes([int(byte[1], 16)])
        return self._spelled(symbol).encode()

    def _spelled(self, symbol: str) -> str:
        """What a symbol of letters stands for."""
        for mark, blank in self._marks:
            symbol = symbol.replace(mark, blank)
        if self._end and symbol.endswith(self._end):
            return symbol.removesuffix(self._end) + " "
        if self._within and symbol.startswith(self._within) and symbol != self._within:
            return symbol.removeprefix(self._within)
        return f" {symbol}" if self._words and not ATTACHED.fullmatch(symbol) else symbol


def _read(raw: bytes) -> str:
    return raw.decode("utf-8", errors="backslashreplace")


def _parts(whole: Any) -> Iterator[dict[str, Any]]:
    """What the decoder is made of; what the pre-tokenizer is, where there is no decoder."""
    waiting = [whole["decoder"] or whole["pre_tokenizer"]]
    while waiting:
        part = waiting.pop()
        if part:
            yield part
            waiting += part.get("decoders", []) + part.get("pretokenizers", [])


def _marks(parts: dict[str, dict[str, Any]], whole: Any) -> Iterator[tuple[str, str]]:
    """Characters that stand for others, and what they stand for."""
    if "Metaspace" in parts:
        yield parts["Metaspace"]["replacement"], " "
    waiting = [whole["decoder"]]
    while waiting:
        part = waiting.pop(0) or {}
        waiting += part.get("decoders", [])
        if part.get("type") == "Replace" and "String" in part["pattern"]:
            yield part["pattern"]["String"], part["content"]


def _named(part: dict[str, Any] | None, key: str) -> str:
    return str((part or {}).get(key) or "")


def _drops_blanks(part: dict[str, Any] | None) -> bool:
    kinds = {"Whitespace", "WhitespaceSplit", "BertPreTokenizer", "CharDelimiterSplit"}
    if not part:
        return False
    return part["type"] in kinds or any(_drops_blanks(inner) for inner in part.get("pretokenizers", []))
