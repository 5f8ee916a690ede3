"""How llama.cpp is told to choose the next token."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from turbov2.types import Sampling

_Fraction = Annotated[float, msgspec.Meta(ge=0, le=1)]
_PARAMETERS = {
    "temperature": "temperature", "top_k": "top_k", "top_p": "top_p", "min_p": "min_p",
    "repetition_penalty": "repeat_penalty", "presence_penalty": "presence_penalty",
    "frequency_penalty": "frequency_penalty",
}  # fmt: skip
_RANDOM_SEED = 0xFFFFFFFF  # LLAMA_DEFAULT_SEED, which means chance


class SamplingOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What `LoadSpec.options` may hold: how to sample where a request does not say, and how much at once.

    None of a way to sample: as the file's `general.sampling.*` says, else llama.cpp's own.
    """

    n_slots: Annotated[int, msgspec.Meta(ge=1, le=64)] | None = None  # None: see turbov2.backends.gguf
    n_threads: Annotated[int, msgspec.Meta(ge=1)] | None = None  # None: all cores
    temperature: Annotated[float, msgspec.Meta(ge=0)] | None = None
    top_k: Annotated[int, msgspec.Meta(ge=0)] | None = None
    top_p: _Fraction | None = None
    min_p: _Fraction | None = None
    repetition_penalty: Annotated[float, msgspec.Meta(gt=0)] | None = None


def sampling_fields(sampling: Sampling, options: SamplingOptions) -> dict[str, Any]:
    """Returns the request's way to sample, else the options'; else llama.cpp takes the file's."""
    asked = {name: getattr(sampling, name) for name in _PARAMETERS}
    chosen = {name: getattr(options, name, None) if value is None else value for name, value in asked.items()}
    fields = {_PARAMETERS[name]: value for name, value in chosen.items() if value is not None}
    if sampling.seed is not None:
        fields["seed"] = sampling.seed % _RANDOM_SEED
    return fields | {
        "n_predict": sampling.max_tokens,
        # What the last prompt of a slot began with is not read again. A seed asks for an answer that repeats,
        # and what was read in other batches differs in its last bits.
        "cache_prompt": sampling.seed is None,
    }
