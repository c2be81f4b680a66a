"""Small `tokenizer.json`s of the kinds that models come with, each with the special tokens of its kind."""

from pathlib import Path
from typing import Any

from quanta.storage import files
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

TEXTS = ["the cat sat on the mat, and the other cats sat there", "walking and talking on: the cat's talk. The end.", "def f(x):\n    return x + 1"] * 8  # fmt: skip


def _trained(tokenizer: Tokenizer, trainer: Any) -> Tokenizer:
    tokenizer.train_from_iterator(TEXTS, trainer)
    return tokenizer


def byte_level() -> Tokenizer:
    """As GPT-2's, Pythia's and Llama 3's: bytes as letters."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    return _trained(
        tokenizer,
        trainers.BpeTrainer(
            vocab_size=320, special_tokens=["<|endoftext|>"], initial_alphabet=alphabet, show_progress=False
        ),
    )


def _with_bytes() -> Any:
    """A BPE whose vocabulary begins with special tokens and one token a byte, as SentencePiece writes them."""
    words = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    letters = sorted(set("".join(TEXTS)) - {" ", "\n"})
    merges = [("▁", "t"), ("▁t", "h"), ("▁th", "e"), ("▁", "c"), ("▁c", "a"), ("▁ca", "t"), ("i", "n"), ("in", "g")]
    vocabulary = {
        word: number for number, word in enumerate([*words, "▁", *letters, *(one + two for one, two in merges)])
    }
    return models.BPE(vocabulary, merges, unk_token="<unk>", byte_fallback=True, fuse_unk=True)


def metaspace() -> Tokenizer:
    """As Llama's and Mistral's: a beginning-of-text token by its post-processor, a mark before words, bytes for the rest."""
    tokenizer = Tokenizer(_with_bytes())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokenizer.add_special_tokens(["<unk>", "<s>", "</s>"])
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return tokenizer


def byte_fallback() -> Tokenizer:
    """As Gemma's: blanks become marks by the normaliser, nothing is put before the first word."""
    tokenizer = Tokenizer(_with_bytes())
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    tokenizer.add_special_tokens(["<unk>", "<s>", "</s>"])
    tokenizer.add_tokens(["▁▁", "▁▁▁▁"])
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return tokenizer


def wordpiece() -> Tokenizer:
    """As BERT's: marks within words, between two special tokens."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece(prefix="##")
    special = ["[UNK]", "[CLS]", "[SEP]"]
    _trained(tokenizer, trainers.WordPieceTrainer(vocab_size=90, special_tokens=special, show_progress=False))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    return tokenizer


def unigram() -> Tokenizer:
    """As T5's and XLM-R's: SentencePiece without bytes."""
    letters = sorted(set("".join(TEXTS)) - {" "})
    pieces = [("<unk>", 0.0), ("</s>", 0.0), ("▁the", -2.0), ("▁cat", -2.5), ("walk", -3.0), ("ing", -3.0), ("▁", -2.0)]
    tokenizer = Tokenizer(models.Unigram([*pieces, *((letter, -5.0) for letter in letters)], unk_id=0))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.add_special_tokens(["<unk>", "</s>"])
    return tokenizer


def word_ends() -> Tokenizer:
    """As GPT-1's and CLIP's: marks at the end of words."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", end_of_word_suffix="</w>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"\w+|[^\w\s]"), "removed", invert=True)
    tokenizer.decoder = decoders.BPEDecoder(suffix="</w>")
    return _trained(
        tokenizer,
        trainers.BpeTrainer(vocab_size=120, special_tokens=["<unk>"], end_of_word_suffix="</w>", show_progress=False),
    )


KINDS = {
    one.__name__: one for one in (byte_level, metaspace, byte_fallback, wordpiece, unigram, word_ends)
}  # fmt: skip
BEGINNINGS = {
    "byte_level": [],
    "metaspace": [1],
    "byte_fallback": [1],
    "wordpiece": [1],
    "unigram": [],
    "word_ends": [],
}


def saved(folder: Path, kind: str, **config: Any) -> Path:
    """A folder with the tokenizer of a kind, as a model brings it."""
    folder.mkdir(parents=True, exist_ok=True)
    KINDS[kind]().save(str(folder / "tokenizer.json"))
    files.write_json(folder / "tokenizer_config.json", {"tokenizer_class": "PreTrainedTokenizerFast"} | config)
    return folder
