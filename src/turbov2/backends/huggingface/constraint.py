"""Holds an answer to a grammar while transformers generates it, with llguidance."""

from __future__ import annotations

import numpy as np
import torch
from llguidance import LLMatcher, LLTokenizer

from turbov2.errors import InferenceFailed, InvalidRequest


class Constraint:
    """A logits processor: leaves the next token what the grammar allows, and the end where that may be."""

    def __init__(self, tokenizer: LLTokenizer, grammar: str, n_prompt: int) -> None:
        """Raises: InvalidRequest for a grammar that this vocabulary cannot write."""
        self._matcher = LLMatcher(tokenizer, grammar, log_level=0)
        self._n_read = n_prompt
        if self._matcher.is_error():
            raise InvalidRequest(
                "answers cannot be held to these schemas together: make them fewer or simpler", param="schema"
            )

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Returns the scores, `[1, v]`, minus infinity for what is not allowed.

        input_ids: `[1, n]`, the prompt and the answer. Raises: InferenceFailed where the grammar's limits are
        met in the middle of an answer.
        """
        self._matcher.consume_tokens(input_ids[0, self._n_read :].tolist())
        self._n_read = input_ids.shape[1]
        bits = np.frombuffer(self._matcher.compute_bitmask(), np.uint8)
        if self._matcher.is_error():
            raise InferenceFailed("the answer went beyond what its schema's grammar can follow: simplify it")
        allowed = np.zeros(scores.shape[1], np.bool_)
        known = np.unpackbits(bits, bitorder="little")[: len(allowed)]
        allowed[: len(known)] = known
        return scores.masked_fill(~torch.from_numpy(allowed).to(scores.device), -torch.inf)
