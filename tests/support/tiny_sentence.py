"""Small Sentence-Transformers folders with random weights, as the library itself writes them.

They prove structure, never quality. Weights are larger than a fresh model's, so that texts differ.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors.torch import save_file

from tests.support.tiny_tokenizers import save_tokenizer
from turbov2.types import LoadSpec

_SHAPE: dict[str, Any] = {
    "vocab_size": 512,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "max_position_embeddings": 66,
    "initializer_range": 0.2,
}
_CONFIGS: dict[str, tuple[type[transformers.PreTrainedConfig], str, dict[str, Any]]] = {
    "bert": (transformers.BertConfig, "bert", {"pad_token_id": 0}),
    "electra": (transformers.ElectraConfig, "bert", {"pad_token_id": 0, "embedding_size": 16}),
    "mpnet": (transformers.MPNetConfig, "xlm-roberta", {"pad_token_id": 1}),
    "xlm-roberta": (transformers.XLMRobertaConfig, "xlm-roberta", {"pad_token_id": 1}),
    "roberta": (transformers.RobertaConfig, "xlm-roberta", {"pad_token_id": 1}),
    "camembert": (transformers.CamembertConfig, "xlm-roberta", {"pad_token_id": 1}),
    "deberta-v2": (transformers.DebertaV2Config, "deberta-v2", {"pad_token_id": 0}),
    "qwen2": (transformers.Qwen2Config, "qwen", {"num_key_value_heads": 2, "eos_token_id": 0}),
    "qwen3": (transformers.Qwen3Config, "qwen", {"num_key_value_heads": 2, "head_dim": 8, "eos_token_id": 0}),
}
ARCHITECTURES = tuple(_CONFIGS)


def save_transformer(folder: Path, architecture: str, **shape: Any) -> Path:
    """Writes the weights, configuration and tokenizer of a bare transformer. Returns the folder."""
    kind, family, own = _CONFIGS[architecture]
    transformers.utils.logging.disable_progress_bar()
    torch.manual_seed(0)
    model = transformers.AutoModel.from_config(kind(**(_SHAPE | own | shape)))
    model.save_pretrained(save_tokenizer(family, folder))
    return folder


def save_sentence(
    folder: Path,
    architecture: str,
    pooling: dict[str, Any] | None = None,
    *,
    dense: tuple[int, int] | None = None,
    is_normalized: bool = False,
    max_seq_length: int | None = 64,
    **shape: Any,
) -> Path:
    """Writes a whole folder. Returns it.

    pooling: the module's own configuration; None is the mean. dense: inputs and outputs of a Tanh layer.
    """
    save_transformer(folder, architecture, **shape)
    modules = ["Transformer", "Pooling", *["Dense"] * (dense is not None), *["Normalize"] * is_normalized]
    _write(
        folder / "modules.json",
        [
            {
                "idx": i,
                "name": str(i),
                "path": f"{i}_{kind}" if i else "",
                "type": f"sentence_transformers.models.{kind}",
            }
            for i, kind in enumerate(modules)
        ],
    )
    _write(folder / "sentence_bert_config.json", {"max_seq_length": max_seq_length, "do_lower_case": False})
    width = shape.get("hidden_size", _SHAPE["hidden_size"])
    mode = pooling or {"pooling_mode_mean_tokens": True}
    _write(folder / "1_Pooling" / "config.json", {"word_embedding_dimension": width, **mode})
    if dense is not None:
        _write_dense(folder / "2_Dense", *dense)
    return folder


def spec_of(folder: Path, **fields: Any) -> LoadSpec:
    """Returns what loads the folder."""
    files = {path.relative_to(folder).as_posix(): str(path) for path in folder.rglob("*") if path.is_file()}
    return LoadSpec(**{"model": "tiny", "backend": "sentence", "files": files, "revision": "", **fields})


def _write_dense(folder: Path, n_in: int, n_out: int) -> None:
    activation = "torch.nn.modules.activation.Tanh"
    _write(
        folder / "config.json",
        {"in_features": n_in, "out_features": n_out, "bias": True, "activation_function": activation},
    )
    generator = torch.Generator().manual_seed(1)
    weights = {"linear.weight": (n_out, n_in), "linear.bias": (n_out,)}
    save_file(
        {name: torch.randn(shape, generator=generator) for name, shape in weights.items()},
        folder / "model.safetensors",
    )


def _write(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))
