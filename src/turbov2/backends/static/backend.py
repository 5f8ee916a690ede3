"""StaticBackend: a Model2Vec folder (`model.safetensors`, `tokenizer.json`) as an Embedder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import orjson
from numpy.typing import NDArray
from tokenizers import Tokenizer

from turbov2.backends.static.table import Table, map_tensors
from turbov2.backends.static.words import WordTokenizer
from turbov2.backends.tokens import check_ids, is_text, offsets_of, to_batch
from turbov2.errors import LoadFailed
from turbov2.types import DENSE, EmbedTask, Inputs, Loaded, LoadSpec, Outputs, TokenBatch

if TYPE_CHECKING:
    pass

# Model2Vec writes "embeddings"; Sentence Transformers' StaticEmbedding and wordllama "embedding.weight".
_TABLE_NAMES = ("embeddings", "embedding.weight")


class StaticBackend:
    """Mean of the rows of a text's tokens, as model2vec's `StaticModel` with `max_length=None`.

    Tokens are taken without special tokens; unknown ones are dropped. A text without tokens has the
    zero vector. Source of the recipe: MinishLab/model2vec, model2vec/model.py.
    """

    def __init__(self, spec: LoadSpec) -> None:
        tensors = map_tensors(_file(spec, "model.safetensors"))
        self._table = Table(_table_of(tensors))
        self._token_weights = tensors.get("weights")
        self._row_of_token = tensors.get("mapping")
        tokenizer, definition = _load_tokenizer(_file(spec, "tokenizer.json"))
        self._words = WordTokenizer(tokenizer, definition, _unknown_id(tokenizer, definition["model"]))
        self._n_vocabulary = self._words.n_ids
        self._max_tokens = spec.max_tokens
        self._check_sizes()
        self.loaded = Loaded(
            capabilities=("embed",),
            dtype=str(_table_of(tensors).dtype),
            dimensions=self._table.dimensions,
            max_tokens=spec.max_tokens,
            pooling="mean",
            n_vocabulary=self._n_vocabulary,
            n_parameters=self._table.n_rows * self._table.dimensions,
        )

    def tokenize(self, inputs: Inputs) -> TokenBatch:
        """Returns the inputs' ids without special and unknown tokens."""
        if is_text(inputs):
            rows = self._words.encode(inputs)
        else:
            ids = cast(Sequence[Sequence[int]], inputs)
            check_ids(ids, self._n_vocabulary)
            rows = [self._words.to_ids(each) for each in ids]
        return to_batch(rows, self._max_tokens)

    def embed(self, tokens: TokenBatch, task: EmbedTask = DENSE, *, is_precise: bool = False) -> Outputs:
        """Returns the mean row of each input, `[n, d]` float32, not normalised; always precise."""
        sums = self._sum(tokens.ids, offsets_of(tokens.lengths))
        sums /= np.maximum(tokens.lengths, 1, dtype=np.float32)[:, None]
        return Outputs(sums)

    def free_caches(self) -> None:
        """Afterwards no word's ids are remembered."""
        self._words.forget()

    def close(self) -> None:
        """Afterwards the mapped file is released."""
        del self._table, self._token_weights, self._row_of_token, self._words

    def _sum(self, ids: NDArray[np.int32], offsets: NDArray[np.int32]) -> NDArray[np.float32]:
        if self._token_weights is None:
            weights = np.ones(len(ids), np.float32)
        else:
            weights = self._token_weights[ids].astype(np.float32, copy=False)
        rows = ids if self._row_of_token is None else self._row_of_token[ids].astype(np.int32)
        return self._table.sum_rows(rows, offsets, weights)

    def _check_sizes(self) -> None:
        """Raises: LoadFailed if any token could lead outside the table: the kernel itself checks nothing."""
        mapping, weights = self._row_of_token, self._token_weights
        if mapping is not None and (mapping.ndim != 1 or mapping.dtype.kind != "i"):
            raise LoadFailed("the token mapping is not a list of integers")
        if weights is not None and weights.ndim != 1:
            raise LoadFailed("the token weights are not a list of numbers")
        n_tokens = self._table.n_rows if mapping is None else len(mapping)
        if n_tokens < self._n_vocabulary:
            raise LoadFailed(
                f"the table has {n_tokens} rows but the tokenizer {self._n_vocabulary} tokens: "
                "they are not of one model"
            )
        if mapping is not None and not ((mapping >= 0) & (mapping < self._table.n_rows)).all():
            raise LoadFailed("the token mapping points outside the table")
        if weights is not None and len(weights) < self._n_vocabulary:
            raise LoadFailed("the model has fewer token weights than tokens")


def _file(spec: LoadSpec, name: str) -> Path:
    if name not in spec.files:
        raise LoadFailed(f"the model folder has no {name}, which a static model needs")
    return Path(spec.files[name])


def _table_of(tensors: dict[str, NDArray[Any]]) -> NDArray[Any]:
    for name in _TABLE_NAMES:
        if name in tensors:
            return tensors[name]
    raise LoadFailed(f"the weights hold none of the tensors {', '.join(_TABLE_NAMES)}")


def _load_tokenizer(path: Path) -> tuple[Tokenizer, dict[str, Any]]:
    try:
        text = path.read_bytes()
        tokenizer, definition = Tokenizer.from_buffer(text), orjson.loads(text)
    except Exception as error:  # the library raises bare Exception for every malformed file
        raise LoadFailed("tokenizer.json is not a tokenizer this version reads") from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer, definition


def _unknown_id(tokenizer: Tokenizer, model: dict[str, Any]) -> int | None:
    # Unigram models name it by id, all others by token.
    if model.get("unk_token") is None:
        return cast("int | None", model.get("unk_id"))
    return tokenizer.token_to_id(model["unk_token"])
