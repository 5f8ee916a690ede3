"""Tiny teachers with random weights, one of each kind of tokenizer that real ones have."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
from tokenizers import (
    AddedToken,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

CORPUS = ["the quick brown fox jumps over the lazy dog", "a static table of token vectors", "naïve café"] * 3


def word_piece() -> Tokenizer:
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[unused0]", "[unused1]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer.train_from_iterator(CORPUS, trainers.WordPieceTrainer(vocab_size=120, special_tokens=special))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 4), ("[SEP]", 5)]
    )
    tokenizer.enable_padding(pad_token="[PAD]", pad_id=0)
    tokenizer.enable_truncation(8)
    return tokenizer


def byte_level() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(
        CORPUS, trainers.BpeTrainer(vocab_size=320, initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    )
    tokenizer.add_special_tokens(["<|im_start|>", "<|endoftext|>"])  # behind the model's own, as Qwen's
    end = tokenizer.token_to_id("<|endoftext|>")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A <|endoftext|>", special_tokens=[("<|endoftext|>", end)]
    )
    return tokenizer


def unigram() -> Tokenizer:
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    tokenizer.train_from_iterator(
        CORPUS, trainers.UnigramTrainer(vocab_size=90, special_tokens=special, unk_token="<unk>")
    )
    tokenizer.add_special_tokens([AddedToken("<mask>", lstrip=True)])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    return tokenizer


_SIZES = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "max_position_embeddings": 80,
}


def _bert(n_tokens: int) -> Any:
    from transformers import BertConfig, BertModel

    return BertModel(BertConfig(vocab_size=n_tokens, **_SIZES))


def _qwen(n_tokens: int) -> Any:
    from transformers import Qwen2Config, Qwen2Model

    return Qwen2Model(Qwen2Config(vocab_size=n_tokens, num_key_value_heads=2, **_SIZES))


def _roberta(n_tokens: int) -> Any:
    from transformers import XLMRobertaConfig, XLMRobertaModel

    specials = {"bos_token_id": 0, "pad_token_id": 1, "eos_token_id": 2}
    return XLMRobertaModel(XLMRobertaConfig(vocab_size=n_tokens, **specials, **_SIZES))


KINDS: dict[str, tuple[Callable[[], Tokenizer], Callable[[int], Any], dict[str, str]]] = {
    "bert": (
        word_piece,
        _bert,
        {
            "unk_token": "[UNK]",
            "pad_token": "[PAD]",
            "cls_token": "[CLS]",
            "sep_token": "[SEP]",
            "mask_token": "[MASK]",
        },
    ),
    "qwen": (byte_level, _qwen, {"pad_token": "<|endoftext|>", "eos_token": "<|endoftext|>"}),
    "roberta": (
        unigram,
        _roberta,
        {
            "unk_token": "<unk>",
            "pad_token": "<pad>",
            "bos_token": "<s>",
            "eos_token": "</s>",
            "mask_token": "<mask>",
        },
    ),
}


def make_teacher(folder: Path, kind: str = "bert") -> Path:
    """Returns the folder, which now holds such a transformer. Needs torch and transformers."""
    import torch

    make_tokenizer, make_model, specials = KINDS[kind]
    tokenizer = make_tokenizer()
    torch.manual_seed(0)
    make_model(tokenizer.get_vocab_size()).save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {"tokenizer_class": "PreTrainedTokenizerFast", **specials}
    (folder / "tokenizer_config.json").write_bytes(orjson.dumps(config))
    return folder
