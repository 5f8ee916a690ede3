"""How many answers are written at a time, each with the keys and values of a whole context. Without torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from turbov2.types import LoadSpec

USUAL_CONTEXT = 8192  # tokens, where nobody says: many models are trained on more than there is memory for
_USUAL_CACHE_BYTES = 1 << 30
_USUAL_SLOTS = 8


def usual_slots(context_bytes: int, n_most: int = _USUAL_SLOTS) -> int:
    """Returns how many slots there are unless the models file says: as many as 1 GiB has room for, or one.

    context_bytes: of one slot; 0 if nobody knows.
    """
    return max(1, min(n_most, _USUAL_CACHE_BYTES // context_bytes)) if context_bytes > 0 else 1


def cache_bytes(spec: LoadSpec) -> int:
    """Returns what all slots of a model in transformers' format take, from its config.json.

    They are allotted when the model is loaded. 0 if the file does not tell, or if the model's cache is of a
    kind that is allotted as its one answer grows. Blocks: reads a file.
    """
    try:
        config = json.loads(Path(spec.files["config.json"]).read_bytes())
        config = config.get("text_config", config)
        if not _is_plain(config):
            return 0
        n_context = min(spec.max_tokens or USUAL_CONTEXT, config["max_position_embeddings"])
        context_bytes = n_context * _n_numbers(config) * _item_bytes(spec)
        return max(0, int(context_bytes * (spec.options.get("n_slots") or usual_slots(context_bytes))))
    except (ArithmeticError, AttributeError, KeyError, OSError, RecursionError, TypeError, ValueError):
        return 0  # a stranger's file; loading the model says what is wrong with it


def _is_plain(config: dict[str, Any]) -> bool:
    """Returns whether every layer keeps all that was read."""
    slides = config.get("sliding_window") is not None and config.get("use_sliding_window", True)
    return not slides and set(config.get("layer_types") or ()) <= {"full_attention"}


def _n_numbers(config: dict[str, Any]) -> int:
    """Returns how many numbers a token's keys and values in all layers are."""
    n_heads: int = config["num_attention_heads"]
    head_dim = config.get("head_dim") or config["hidden_size"] // n_heads
    n_kv_heads = config.get("num_key_value_heads") or n_heads
    return int(config["num_hidden_layers"] * n_kv_heads * head_dim * 2)


def _item_bytes(spec: LoadSpec) -> int:
    dtype = spec.options.get("dtype", "auto")
    if spec.options.get("quantization") == "nf4" or dtype in ("bfloat16", "float16"):
        return 2
    return 4 if dtype == "float32" or spec.device == "cpu" else 2
