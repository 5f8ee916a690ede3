"""How each family of causal rerankers is asked: the pieces of its prompt, what is cut, the two answers."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Literal, Protocol

import numpy as np

from turbov2.backends.tokenizer import TextTokenizer
from turbov2.errors import LoadFailed
from turbov2.types import Pair, TokenBatch

RecipeName = Literal["mxbai-v2", "qwen3"]
_Ids = list[int]
_MAX_TOKENS = 8192  # both publishers' default


class Recipe(Protocol):
    """One way to ask, for one tokenizer.

    answers: ids of the tokens that say "relevant" and "not relevant".
    max_tokens: of the longest row, template included.
    """

    answers: tuple[int, int]
    max_tokens: int

    def encode(self, pairs: Sequence[Pair]) -> TokenBatch:
        """Returns each pair inside its prompt. What is too long loses its end, the template nothing."""


class MxbaiV2:
    """Mixedbread's v2 rerankers answer "1" or "0". The limit counts query and document, not the template.

    The query keeps at most 3/4 of the limit, the document what is left. Pieces are tokenized apart: in one
    string, byte pairs would merge across their joints. Source: mixedbread-ai/mxbai-rerank,
    mxbai_rerank/mxbai_rerank_v2.py.
    """

    _PREFIX = (
        "<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant.<|im_end|>\n"
        "<|im_start|>user\n"
    )
    _TASK = (
        "You are a search relevance expert who evaluates how well documents match search queries. "
        "For each query-document pair, carefully analyze the semantic relationship between them, "
        "then provide your binary relevance judgment (0 for not relevant, 1 for relevant).\nRelevance:"
    )
    _SUFFIX = "<|im_end|>\n<|im_start|>assistant\n"

    def __init__(self, tokenizer: TextTokenizer, max_tokens: int | None, n_positions: int) -> None:
        """Raises: LoadFailed when the template leaves no room for a pair."""
        self._tokenizer = tokenizer
        pieces = tokenizer.encode_plain([self._PREFIX, "\n", self._TASK, self._SUFFIX, "1", "0"])
        self._before, self._joint, task, suffix, yes, no = pieces
        self._after = [*self._joint, *task, *suffix]
        self.answers = (yes[0], no[0])
        n_template = len(self._before) + len(self._after)
        self._n_pair = _room(min(max_tokens or _MAX_TOKENS, n_positions - n_template), n_template)
        self.max_tokens = self._n_pair + n_template

    def encode(self, pairs: Sequence[Pair]) -> TokenBatch:
        """Returns each pair inside its prompt; without an instruction its line is left out."""
        queries = [(f"instruction: {i}\n" if i else "") + f"query: {q}" for q, _, i in pairs]
        documents = [f"document: {d}" for _, d, _ in pairs]
        texts = list(dict.fromkeys(queries + documents))  # a query is read once
        ids_of = dict(zip(texts, self._tokenizer.encode_plain(texts), strict=True))
        starts = [ids_of[query][: self._n_pair * 3 // 4] + self._joint for query in queries]
        rests = [ids_of[document] for document in documents]
        bodies = [
            start + rest[: max(self._n_pair - len(start), 0)]
            for start, rest in zip(starts, rests, strict=True)
        ]
        n_whole = [
            len(ids_of[query]) + len(self._joint) + len(rest)
            for query, rest in zip(queries, rests, strict=True)
        ]
        return _wrap(self._before, bodies, self._after, n_whole)


class Qwen3:
    """Qwen3-Reranker answers "yes" or "no". The limit counts all; what passes it is cut off the body's end.

    Source: the recipe for transformers on the model card of Qwen/Qwen3-Reranker-0.6B.
    """

    _PREFIX = (
        "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and "
        'the Instruct provided. Note that the answer can only be "yes" or "no".<|im_end|>\n<|im_start|>user\n'
    )
    _TASK = "Given a web search query, retrieve relevant passages that answer the query"
    _SUFFIX = "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"

    def __init__(self, tokenizer: TextTokenizer, max_tokens: int | None, n_positions: int) -> None:
        """Raises: LoadFailed when the template leaves no room for a pair."""
        self._tokenizer = tokenizer
        self._before, self._after, yes, no = tokenizer.encode_plain([self._PREFIX, self._SUFFIX, "yes", "no"])
        self.answers = (yes[0], no[0])
        self.max_tokens = min(max_tokens or _MAX_TOKENS, n_positions)
        n_template = len(self._before) + len(self._after)
        self._n_body = _room(self.max_tokens - n_template, n_template)

    def encode(self, pairs: Sequence[Pair]) -> TokenBatch:
        """Returns each pair inside its prompt; without an instruction with the publisher's own."""
        texts = [f"<Instruct>: {i or self._TASK}\n<Query>: {q}\n<Document>: {d}" for q, d, i in pairs]
        bodies = self._tokenizer.encode_plain(texts)
        cut = [body[: self._n_body] for body in bodies]
        return _wrap(self._before, cut, self._after, [len(body) for body in bodies])


RECIPES: dict[RecipeName, type[MxbaiV2] | type[Qwen3]] = {"mxbai-v2": MxbaiV2, "qwen3": Qwen3}


def _room(n_tokens: int, n_template: int) -> int:
    if n_tokens < 1:
        raise LoadFailed(
            f"the prompt's template takes {n_template} tokens and leaves no room: raise max_tokens"
        )
    return n_tokens


def _wrap(before: _Ids, bodies: Sequence[_Ids], after: _Ids, n_whole: Sequence[int]) -> TokenBatch:
    """Returns the bodies inside the template; `n_whole` are their lengths before they were cut."""
    n_template = len(before) + len(after)
    lengths = np.array([len(body) + n_template for body in bodies], np.int32)
    full_lengths = np.array([n + n_template for n in n_whole], np.int32)
    ids = chain.from_iterable(chain(before, body, after) for body in bodies)
    return TokenBatch(np.fromiter(ids, np.int32, int(lengths.sum())), lengths, full_lengths)
