"""Small rerankers with random weights, saved as transformers saves them: their scores mean nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import torch
import transformers
from tokenizers import Tokenizer

from tests.support.tiny_tokenizers import save_tokenizer
from turbov2.types import LoadSpec, Pair

Encoder = Literal["deberta-v2", "bert", "xlm-roberta"]
Decoder = Literal["qwen2", "qwen3"]

QUERY = "what is near the station"
DOCUMENTS = [
    "The quick brown fox jumps over the lazy dog",
    "",
    "Où est la gare ? Die Straße führt über die Brücke. Чай стоит на столе.",
    "機械学習は面白い。検索と再ランキング。",
    "def f(x):\n    return {'a': [1, 2, 3.5]}  # 100%\n",
    "what is near is alike",
    " spaces   and\ttabs \n\n",
    "long texts and short texts lie in one space " * 6,
]
PAIRS: list[Pair] = [(QUERY, document, "") for document in DOCUMENTS]

_SIZES: dict[str, Any] = {
    "hidden_size": 64,  # the least that 4-bit blocks fit into
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 128,
    "initializer_range": 0.15,  # far larger than in training, so that different texts get different scores
}


def save_cross_encoder(family: Encoder, folder: Path, *, n_labels: int = 1) -> Path:
    """Writes a classifier on pairs of the given family. Returns the folder."""
    save_tokenizer(family, folder)
    own: dict[Encoder, tuple[type, type, dict[str, Any]]] = {
        "deberta-v2": (
            transformers.DebertaV2Config,
            transformers.DebertaV2ForSequenceClassification,
            {  # as DeBERTa-v3, with fewer buckets, so that short texts reach the last
                "relative_attention": True,
                "max_relative_positions": -1,
                "position_buckets": 16,
                "norm_rel_ebd": "layer_norm",
                "share_att_key": True,
                "pos_att_type": ["p2c", "c2p"],
                "position_biased_input": False,
                "type_vocab_size": 0,
                "max_position_embeddings": 512,
                "pooler_hidden_size": 64,
            },
        ),
        "bert": (
            transformers.BertConfig,
            transformers.BertForSequenceClassification,
            {"type_vocab_size": 2, "max_position_embeddings": 96},
        ),
        "xlm-roberta": (
            transformers.XLMRobertaConfig,
            transformers.XLMRobertaForSequenceClassification,
            {"type_vocab_size": 1, "max_position_embeddings": 98, "pad_token_id": 1},
        ),
    }
    config_class, model_class, fields = own[family]
    config = config_class(vocab_size=_n_tokens(folder), num_labels=n_labels, **_SIZES, **fields)
    return _save(model_class, config, folder)


def save_causal(family: Decoder, folder: Path, *, n_positions: int = 32_768, is_tied: bool = True) -> Path:
    """Writes a causal language model with a chat model's tokenizer. Returns the folder."""
    save_tokenizer("qwen", folder)
    config_class, model_class, fields = {
        "qwen2": (transformers.Qwen2Config, transformers.Qwen2ForCausalLM, {}),
        "qwen3": (transformers.Qwen3Config, transformers.Qwen3ForCausalLM, {"head_dim": 16}),
    }[family]
    config = config_class(
        vocab_size=_n_tokens(folder),
        num_key_value_heads=2,
        tie_word_embeddings=is_tied,
        max_position_embeddings=n_positions,
        **_SIZES,
        **fields,
    )
    return _save(model_class, config, folder)


def load_spec(folder: Path, backend: str, **fields: Any) -> LoadSpec:
    """Returns how the server would ask for the folder's files."""
    files = {path.name: str(path) for path in folder.iterdir() if path.is_file()}
    return LoadSpec("tiny", backend, files, "", **fields)


def _n_tokens(folder: Path) -> int:
    return Tokenizer.from_file(str(folder / "tokenizer.json")).get_vocab_size()


def _save(model_class: Any, config: Any, folder: Path) -> Path:
    torch.manual_seed(7)
    model_class(config).save_pretrained(folder)
    return folder
