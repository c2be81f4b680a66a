"""Tokenizers: trained, saved, loaded, and compared between models."""

import bisect
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from quanta.errors import QuantaError
from quanta.storage import files

END_OF_TEXT = "<|endoftext|>"


# ---------------------------------------------------------------------------------------------- tokenizer


def train_tokenizer(texts: Iterable[str], vocabulary: int) -> Tokenizer:
    """Byte-level BPE: any text can be encoded, and decodes to itself."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[END_OF_TEXT],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def save_tokenizer(tokenizer: Tokenizer, folder: str | Path) -> None:
    """Write the two files from which `transformers.AutoTokenizer` loads it."""
    folder = Path(folder)
    with files.atomic(folder / "tokenizer.json") as temporary:
        tokenizer.save(str(temporary))
    files.write_json(
        folder / "tokenizer_config.json",
        {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": END_OF_TEXT, "bos_token": END_OF_TEXT},
    )


def load_tokenizer(folder: str | Path) -> Tokenizer:
    """Load `tokenizer.json` of a Hugging Face tokenizer folder, without the cuts and the padding that it may ask for.

    Raises:
        QuantaError: there is no such file, or it is damaged.
    """
    path = Path(folder) / "tokenizer.json"
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # tokenizers raises bare Exception
        raise QuantaError(
            str(path), f"cannot be loaded ({error})", "a fast tokenizer of Hugging Face", "give its tokenizer.json"
        ) from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


# of a tokenizer.json, what token ids hang on; special tokens are found in a text like other added ones
DECISIVE = ("normalizer", "pre_tokenizer", "added_tokens", "model")


def check_alike(folders: Iterable[str | Path]) -> list[str]:
    """Assert that models share one tokenizer, as far as token ids hang on it.

    Returns:
        the folders without a tokenizer.json: nothing is known of theirs.

    Raises:
        QuantaError: two tokenizers differ, or one is damaged.
    """
    without: list[str] = []
    seen: dict[str, str] = {}
    first: tuple[str, dict[str, Any]] | None = None
    for folder in map(str, folders):
        path = Path(folder) / "tokenizer.json"
        if not path.is_file():
            without.append(folder)
            continue
        if seen.setdefault(files.file_hash(path), folder) != folder:
            continue
        # written anew by the library, which has one way to say what files of other versions say in several
        whole = json.loads(load_tokenizer(folder).to_str())
        for token in whole["added_tokens"]:
            token.pop("special", None)
        decisive = {key: whole.get(key) for key in DECISIVE}
        first = first or (folder, decisive)
        if difference := _difference(first[1], decisive):
            key, one, other = difference
            raise QuantaError(
                f"{first[0]} and {folder}",
                f"tokenizers that differ: {key} is {_short(one)} in the one and {_short(other)} in the other",
                "models that share one tokenizer: their losses are compared token by token",
                "leave one of them out, or run each family by itself",
            )
    return without


def _difference(one: Any, other: Any, key: str = "") -> tuple[str, Any, Any] | None:
    """Where two values of JSON first differ, and what stands there in each; None where they are equal."""
    if one == other:
        return None
    if isinstance(one, dict) and isinstance(other, dict):
        keys: Iterable[Any] = dict.fromkeys([*one, *other])
        pairs = [(f"{key}.{name}" if key else name, one.get(name), other.get(name)) for name in keys]
    elif isinstance(one, list) and isinstance(other, list):
        longest = max(len(one), len(other))
        both = ([*part, *[None] * (longest - len(part))] for part in (one, other))
        pairs = [(f"{key}.{index}", a, b) for index, (a, b) in enumerate(zip(*both, strict=True))]
    else:
        return key, one, other
    inner = (_difference(a, b, name) for name, a, b in pairs)
    return next((found for found in inner if found), (key, one, other))


def _short(value: Any) -> str:
    text = "absent" if value is None else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else f"{text[:79]}…"


def byte_alphabet() -> dict[int, str]:
    """The byte-level alphabet of GPT-2's tokenizer: printable bytes stand for themselves, the others are moved up."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    moved = [
        byte
        for byte in range(256)
        if bisect.bisect_left(printable, byte) == len(printable)
        or printable[bisect.bisect_left(printable, byte)] != byte
    ]
    return {byte: chr(byte) for byte in printable} | {byte: chr(256 + n) for n, byte in enumerate(moved)}
