"""Tokens as text, to be shown."""

from tokenizers import Tokenizer

from quanta.corpus import vocabulary


class Texts:
    """Tokens back as text, for contexts in the report: a string a token, bytes that are no UTF-8 in hexadecimal."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._bytes = {character: byte for byte, character in vocabulary.byte_alphabet().items()}

    def of(self, token: int) -> str:
        """Text of one token id (ids past the vocabulary, which padded models may emit, as `<id>`)."""
        symbol = self._tokenizer.id_to_token(int(token))
        if symbol is None:
            return f"<{token}>"
        try:
            raw = bytes(self._bytes[character] for character in symbol)
        except KeyError:  # a special token, or a tokenizer that is not byte-level
            return symbol
        return raw.decode("utf-8", errors="backslashreplace")
