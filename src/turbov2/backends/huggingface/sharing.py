"""Whether a model's answers can share its forwards, and the slots for as many as do."""

from __future__ import annotations

import logging
from typing import Any

import torch
import transformers
from transformers.cache_utils import DynamicLayer

from turbov2.backends.huggingface.attention import SIDE_BY_SIDE, Slot, part_of, read
from turbov2.backends.slots import usual_slots
from turbov2.backends.torch_models import TorchModel

logger = logging.getLogger(__name__)

_TRIAL = ((1, 2, 3, 4, 5, 6, 7), (9, 8, 7, 6, 5))  # token ids
# Of the scores' own spread. Rounding moves them by less, a wrong position or neighbour by far more.
_TOLERANCE = {torch.float32: 1e-3}
_COARSE_TOLERANCE = 0.1


def open_slots(model: TorchModel, n_context: int, n_asked: int | None) -> list[Slot]:
    """Returns a slot for each answer at a time; none if the model has to write them one by one.

    Afterwards the model's attention is the one for parts, if there are slots. Whether it gives what the
    library's own gives is tried: architectures are many, and some look at more than ids and positions.
    Raises: OutOfMemory.
    """
    if not _is_plain(model.module):
        return []
    with model.computing():
        tried = [Slot(len(ids)) for ids in _TRIAL]
        if not _is_alike(model.module, tried):
            logger.warning("this model's answers cannot be written side by side: it writes one at a time")
            model.module.config._attn_implementation = "sdpa"
            return []
        n_slots = n_asked or usual_slots(tried[0].token_bytes * n_context)
        return [tried[0].like(n_context) for _ in range(n_slots)]


def _is_plain(module: Any) -> bool:
    """Returns whether each layer's attention is the library's, sees all that was read, keeps just that."""
    config = module.config
    ropes = str(getattr(config.get_text_config(), "rope_parameters", None))
    return bool(
        module._supports_attention_backend
        and config._attn_implementation == "sdpa"
        and all(type(layer) is DynamicLayer for layer in transformers.DynamicCache(config=config).layers)
        # These turn all positions of a forward by the longest answer in it.
        and "dynamic" not in ropes
        and "longrope" not in ropes
    )


def _scores_alone(module: Any, ids: tuple[int, ...]) -> torch.Tensor:
    scores: torch.Tensor = module(torch.tensor([ids], device=module.device), use_cache=False).logits[0, -1]
    return scores.float()


def _is_alike(module: Any, slots: list[Slot]) -> bool:
    """Returns whether answers that are read side by side, in three steps, get the scores they get alone.

    Afterwards the model has the attention for it.
    """
    try:
        alone = [_scores_alone(module, ids) for ids in _TRIAL]
        module.config._attn_implementation = SIDE_BY_SIDE
        _read(module, slots, [(0, 2) for ids in _TRIAL])
        _read(module, slots, [(2, len(ids) - 3) for ids in _TRIAL])
        together = _read(module, slots, [(len(ids) - 1, 1) for ids in _TRIAL])
    except Exception:
        logger.exception("a forward of several answers failed")
        return False
    tolerance = _TOLERANCE.get(module.dtype, _COARSE_TOLERANCE)
    return together.shape == (len(slots), len(alone[0])) and all(
        (one - other).std() < tolerance * other.std() for one, other in zip(together, alone, strict=True)
    )


def _read(module: Any, slots: list[Slot], pieces: list[tuple[int, int]]) -> torch.Tensor:
    told = [ids[begin : begin + n] for ids, (begin, n) in zip(_TRIAL, pieces, strict=True)]
    parts = [part_of(slot, *piece, module.device) for slot, piece in zip(slots, pieces, strict=True)]
    return read(module, torch.tensor([sum(told, ())], device=module.device), parts)
