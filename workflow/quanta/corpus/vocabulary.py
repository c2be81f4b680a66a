"""Tokenizers: trained, saved, loaded, and compared between models."""

import bisect
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from quanta.errors import QuantaError
from quanta.storage import files, writing

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
    with writing.atomic(folder / "tokenizer.json") as temporary:
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
    if not path.is_file():
        raise QuantaError(
            str(path),
            "no such file",
            "a fast tokenizer of Hugging Face",
            f'write it: python -c "from transformers import AutoTokenizer as A; A.from_pretrained({str(folder)!r}).save_pretrained({str(folder)!r})"',
        )
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # tokenizers raises bare Exception
        raise QuantaError(
            str(path), f"cannot be loaded ({error})", "a fast tokenizer of Hugging Face", "give its tokenizer.json"
        ) from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def of_plain_text(tokenizer: Tokenizer) -> Tokenizer:
    """A tokenizer that finds no special token in a text that spells one, with `encode_special_tokens` set; ids are the same.

    A Unigram model has its special tokens among its pieces and would find them there, so these pieces get other names.
    """
    whole = json.loads(tokenizer.to_str())
    if whole["model"].get("type") != "Unigram":
        return tokenizer
    special = {token["content"] for token in whole["added_tokens"] if token["special"]}
    pieces = whole["model"]["vocab"]
    whole["model"]["vocab"] = [
        [f"\U0010ffff{index}" if piece in special else piece, score] for index, (piece, score) in enumerate(pieces)
    ]
    renamed = Tokenizer.from_str(json.dumps(whole))
    kept = {token["content"]: token["id"] for token in whole["added_tokens"] if not token["special"]}
    same = all(renamed.token_to_id(content) == number for content, number in kept.items())
    return renamed if same else tokenizer


def beginning_of(folder: str | Path, how: str) -> tuple[list[int], str]:
    """Ids that models read before each document, and why: what the tokenizer of a model's folder puts there.

    `how` is `auto` (what a call of the tokenizer puts before a text, which may be nothing), `always` (that, else its
    beginning-of-text token) or `never`.

    Raises:
        QuantaError: the tokenizer cannot be loaded, or `always` is asked of one that names no beginning-of-text token.
    """
    if how == "never":
        return [], "corpus.beginning is never"
    from transformers import AutoTokenizer

    try:
        tokenizer: Any = AutoTokenizer.from_pretrained(
            str(Path(folder).resolve()), local_files_only=True, trust_remote_code=False
        )
    except (OSError, ValueError, KeyError, ImportError, AttributeError, TypeError) as error:
        raise QuantaError(
            f"{folder}, its tokenizer",
            f"cannot be loaded ({str(error).splitlines()[0] if str(error) else type(error).__name__})",
            "a tokenizer that transformers knows, which says whether a text begins with a token of its own",
            "give its tokenizer.json and tokenizer_config.json, or set corpus.beginning to never",
        ) from error
    text = "a"
    called, bare = (list(tokenizer(text, add_special_tokens=added).input_ids) for added in (True, False))
    starts = [i for i in range(len(called) - len(bare) + 1) if called[i : i + len(bare)] == bare]
    before = called[: starts[0]] if starts else []
    if before:
        return before, "a call of the tokenizer puts it there"
    if how == "auto":
        return [], "a call of the tokenizer puts none there"
    if tokenizer.bos_token_id is None:
        raise QuantaError(
            "config, key corpus.beginning",
            f"always, while the tokenizer of {folder} names no beginning-of-text token",
            "a bos_token in its tokenizer_config.json",
            "name it there, or set corpus.beginning to auto",
        )
    return [int(tokenizer.bos_token_id)], "corpus.beginning is always"


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
