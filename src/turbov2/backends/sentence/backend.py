"""SentenceBackend: a Sentence-Transformers folder, or a bare transformer, as an Embedder."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, cast

import torch
from torch.nn.functional import normalize
from transformers import PreTrainedModel

from turbov2.backends.options import read_options
from turbov2.backends.packed import first_position, hidden_states, pack
from turbov2.backends.sentence.pooling import Dense, pool
from turbov2.backends.sentence.recipe import DenseStep, Recipe, read_recipe
from turbov2.backends.tokenizer import TextTokenizer
from turbov2.backends.tokens import is_text, offsets_of
from turbov2.backends.torch_models import (
    TorchModel,
    TorchOptions,
    file_of,
    first_layers,
    folder_of,
)
from turbov2.errors import LoadFailed
from turbov2.types import DENSE, EmbedTask, Inputs, Loaded, LoadSpec, Outputs, TokenBatch, TokenVectors

if TYPE_CHECKING:
    from turbov2.types.embed import FloatMatrix

Step = Callable[[torch.Tensor], torch.Tensor]


class SentenceBackend:
    """The vectors that `SentenceTransformer(folder).encode` gives, without its padding.

    One set of weights gives the vectors of any number of first layers (2D Matryoshka), as a task asks.
    """

    def __init__(self, spec: LoadSpec) -> None:
        recipe = read_recipe(spec)
        self._tokenizer = TextTokenizer(file_of(spec, f"{recipe.prefix}tokenizer.json"))
        self._is_lowered = recipe.is_lowered
        self._model = TorchModel(
            spec,
            read_options(spec, TorchOptions),
            "encoder",
            folder_of(spec, f"{recipe.prefix}config.json"),
        )
        self._cut: dict[int, PreTrainedModel] = {}
        self._check_fit(recipe)
        is_packed = pack(self._model.module)
        self._pooling = recipe.pooling
        self._steps, dimensions = self._make_steps(spec, recipe)
        self._max_tokens = self._smallest_limit(spec, recipe)
        self.loaded = Loaded(
            capabilities=("embed",),
            dtype=self._model.dtype,
            dimensions=dimensions,
            max_tokens=self._max_tokens,
            pooling="+".join(recipe.pooling),
            n_vocabulary=self._tokenizer.n_vocabulary,
            n_parameters=self._model.n_parameters,
            outputs=("dense", "tokens"),
            is_padded=not is_packed,  # other architectures run each length apart: near lengths together
        )

    def tokenize(self, inputs: Inputs) -> TokenBatch:
        """Returns the inputs' ids with the special tokens of the model's template around them."""
        if self._is_lowered and is_text(inputs):
            inputs = [text.lower() for text in inputs]
        return self._tokenizer.encode(inputs, self._max_tokens)

    def embed(
        self,
        tokens: TokenBatch,
        task: EmbedTask = DENSE,
        *,
        is_precise: bool = False,
    ) -> Outputs:
        """Returns dense vectors, and of every token, special ones included, its normalised last state.

        Raises: LoadFailed when the task wants more layers than there are.
        """
        module = self._first(task.layers)
        with self._model.computing(is_precise=is_precise):
            states = self._states(module, tokens)
            return Outputs(
                dense=self._dense(states, tokens) if "dense" in task.outputs else None,
                tokens=_token_vectors(states, tokens) if "tokens" in task.outputs else None,
            )

    def free_caches(self) -> None:
        """Afterwards the device has the memory that torch kept for reuse."""
        self._model.free_caches()

    def close(self) -> None:
        """Afterwards the weights are released."""
        self._cut.clear()
        self._steps.clear()
        self._model.close()

    def _first(self, layers: int | None) -> PreTrainedModel:
        if layers is None or layers == self._model.n_layers:
            return self._model.module
        if layers not in self._cut:
            self._cut[layers] = first_layers(self._model.module, layers)
        return self._cut[layers]

    def _states(self, module: PreTrainedModel, tokens: TokenBatch) -> torch.Tensor:
        """Returns `[sum(lengths), h]` float32."""
        if not len(tokens.ids):
            return torch.zeros(1, module.config.hidden_size, device=self._model.device)[:0]
        return hidden_states(module, tokens.ids, tokens.lengths).float()

    def _dense(self, states: torch.Tensor, tokens: TokenBatch) -> FloatMatrix:
        lengths = torch.from_numpy(tokens.lengths.astype("int64")).to(states.device)
        vectors = torch.cat([pool(mode, states, lengths) for mode in self._pooling], dim=1)
        for step in self._steps:
            vectors = step(vectors)
        return cast("FloatMatrix", vectors.cpu().numpy())

    def _make_steps(self, spec: LoadSpec, recipe: Recipe) -> tuple[list[Step], int]:
        """Returns what follows the pooling, and the dimensions of its result."""
        dimensions = len(recipe.pooling) * int(self._model.module.config.hidden_size)
        steps: list[Step] = []
        for step in recipe.steps:
            if isinstance(step, DenseStep):
                steps.append(Dense(step, file_of(spec, step.weights), dimensions, self._model.device))
                dimensions = step.out_features
            else:
                steps.append(normalize)
        return steps, dimensions

    def _smallest_limit(self, spec: LoadSpec, recipe: Recipe) -> int | None:
        n_positions = getattr(self._model.module.config, "max_position_embeddings", None) or 0
        # Learned positions end there, and an id behind them is an error, not a loss of quality.
        limits = [spec.max_tokens, recipe.max_tokens, n_positions - first_position(self._model.module)]
        return min((limit for limit in limits if limit is not None and limit > 0), default=None)

    def _check_fit(self, recipe: Recipe) -> None:
        """Raises: LoadFailed if tokenizer and weights are not of one model, or not of a kind served here."""
        config = self._model.module.config
        if config.is_encoder_decoder:
            raise LoadFailed(f"a '{config.model_type}' model has a decoder, which this backend does not run")
        n_rows = self._model.module.get_input_embeddings().num_embeddings
        if self._tokenizer.n_vocabulary > n_rows:
            raise LoadFailed(
                f"the tokenizer has {self._tokenizer.n_vocabulary} tokens but the model {n_rows}: "
                "they are not of one model"
            )
        if "last" in recipe.pooling:
            self._require_end_token()

    def _require_end_token(self) -> None:
        """Raises: LoadFailed unless each text ends in the token whose state such models were trained to pool.

        transformers 5 no longer adds it when only a flag of `tokenizer_config.json` asks for it; without it a
        token of the text itself would be pooled, and every vector be wrong unnoticed.
        """
        config = self._model.module.config
        eos = config.eos_token_id
        ends = {*(eos if isinstance(eos, list) else [eos]), config.pad_token_id, self._tokenizer.pad_id}
        batch = self._tokenizer.encode(["a", "1"], None)
        last = {int(batch.ids[end - 1]) for end in offsets_of(batch.lengths)[1:]}
        if len(last) != 1 or not last <= ends:
            raise LoadFailed(
                "the model pools the last token, but its tokenizer.json does not end all texts with one: "
                "its post-processor must append the model's end-of-text token"
            )


def _token_vectors(states: torch.Tensor, tokens: TokenBatch) -> TokenVectors:
    return TokenVectors(normalize(states).cpu().numpy(), tokens.lengths)
