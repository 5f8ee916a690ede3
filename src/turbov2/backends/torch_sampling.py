"""How transformers chooses the next token: a request's wishes, the models file's, the checkpoint's own."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection
from typing import Annotated, Any

import msgspec
import torch
import transformers

from turbov2.backends.torch_models import TorchOptions
from turbov2.types import Sampling

_Fraction = Annotated[float, msgspec.Meta(ge=0, le=1)]
# Of the prompt and the answer so far `[1, n]` and the next token's scores `[1, v]`, scores like these.
LogitsProcessor = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
_WAYS = ("temperature", "top_k", "min_p", "top_p", "repetition_penalty")


class WritingOptions(TorchOptions, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What `LoadSpec.options` may hold: how to compute, and to sample where a request does not say.

    None: as the checkpoint's generation_config.json says, and greedy where that says nothing.
    """

    temperature: Annotated[float, msgspec.Meta(ge=0)] | None = None
    top_k: Annotated[int, msgspec.Meta(ge=0)] | None = None
    min_p: _Fraction | None = None
    top_p: _Fraction | None = None
    repetition_penalty: Annotated[float, msgspec.Meta(gt=0)] | None = None


class Penalties:
    """A logits processor: takes both penalties off the scores of what the answer holds."""

    def __init__(self, n_prompt: int, presence: float, frequency: float) -> None:
        self._n_prompt = n_prompt
        self._presence = presence
        self._frequency = frequency

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Returns the scores, `[1, v]`. input_ids: `[1, n]`, the prompt and the answer."""
        answer = input_ids[:, self._n_prompt :]
        counts = torch.zeros_like(scores).scatter_add_(1, answer, torch.ones_like(answer, dtype=scores.dtype))
        return scores - self._frequency * counts - self._presence * (counts > 0)


def processors_of(sampling: Sampling, n_prompt: int) -> list[LogitsProcessor]:
    """Returns what of a way to sample the library has nothing for."""
    presence, frequency = sampling.presence_penalty or 0.0, sampling.frequency_penalty or 0.0
    return [Penalties(n_prompt, presence, frequency)] if presence or frequency else []


def config_of(
    module: Any, sampling: Sampling, options: WritingOptions, n_tokens: int, end_ids: Collection[int]
) -> transformers.GenerationConfig:
    """Returns the library's settings: the request's, else the options', else the checkpoint's own."""
    config = copy.deepcopy(module.generation_config)
    for name in _WAYS:
        asked = getattr(sampling, name)
        chosen = getattr(options, name) if asked is None else asked
        if chosen is not None:
            setattr(config, name, chosen)
            config.do_sample = chosen > 0 if name == "temperature" else config.do_sample
    if not config.do_sample:
        config.do_sample, config.temperature, config.min_p, config.top_p, config.top_k = (
            False,
            *[None] * 4,
        )
    config.num_beams = config.num_return_sequences = 1  # what a streamer can be told
    config.use_cache = True  # makers leave it off after training
    config.max_length, config.max_new_tokens = None, n_tokens
    config.eos_token_id = sorted(end_ids)
    if config.pad_token_id is None:
        config.pad_token_id = config.eos_token_id[0] if config.eos_token_id else 0
    return config


def end_ids_of(module: Any, tokenizer: Any) -> frozenset[int]:
    """Returns the tokens that end an answer."""
    told = module.generation_config.eos_token_id
    if told is None:
        told = tokenizer.eos_token_id
    return frozenset([told] if isinstance(told, int) else told or ())
