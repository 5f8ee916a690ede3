"""The next token of one answer, chosen among scores as transformers' `generate` would."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import transformers

from turbov2.backends.torch_sampling import LogitsProcessor
from turbov2.errors import InferenceFailed


class Choice:
    """How one answer's tokens are chosen: its ways to sample, its grammar, its own chance."""

    def __init__(
        self,
        module: Any,
        config: transformers.GenerationConfig,
        n_prompt: int,
        processors: Sequence[LogitsProcessor],
        seed: int | None,
    ) -> None:
        """config: the library's settings, with `max_new_tokens`. processors: what comes before chance."""
        # The library's own way from settings to what changes scores, of which it has no public one.
        config, _ = module._prepare_generation_config(config)
        config.max_length = n_prompt + config.max_new_tokens
        module._prepare_special_tokens(config, device=module.device)
        self._processors = module._get_logits_processor(
            config,
            input_ids_seq_length=n_prompt,
            logits_processor=transformers.LogitsProcessorList(processors),
            device=module.device,
        )
        self._is_by_chance = config.do_sample
        self._generator = torch.Generator(module.device)
        if seed is None:
            self._generator.seed()
        else:
            self._generator.manual_seed(seed % (1 << 63))

    def token(self, ids: torch.Tensor, scores: torch.Tensor) -> int:
        """Returns the next token. ids: `[1, n]`, the prompt and the answer; scores: `[1, v]` float32.

        Raises: InferenceFailed for scores that are no numbers, where they leave no token to draw, and where a
        grammar's limits are met.
        """
        if scores.isnan().any():
            raise InferenceFailed("the model's scores are no numbers: load it with another dtype")
        scores = self._processors(ids, scores)
        if self._is_by_chance:
            chances = scores.softmax(-1)
            if chances.isnan().any():  # to draw from these on CUDA would fail all answers of this process
                raise InferenceFailed("the scores leave no token to draw: they overflow, or all are excluded")
            return int(torch.multinomial(chances, 1, generator=self._generator))
        return int(scores.argmax(-1))
