"""CausalRerankBackend: a language model with a yes-or-no question, as an Embedder of pairs."""

from __future__ import annotations

import torch

from turbov2.backends.causal_rerank.recipes import RECIPES, Recipe, RecipeName
from turbov2.backends.options import read_options
from turbov2.backends.packed import hidden_states, pack
from turbov2.backends.tokenizer import TextTokenizer
from turbov2.backends.tokens import offsets_of, require_pairs
from turbov2.backends.torch_models import TorchModel, TorchOptions, file_of, folder_of
from turbov2.errors import LoadFailed
from turbov2.types import DENSE, EmbedTask, Inputs, Loaded, LoadSpec, Outputs, TokenBatch


class CausalRerankOptions(TorchOptions, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What `LoadSpec.options` may hold; `recipe` it must."""

    recipe: RecipeName | None = None


class CausalRerankBackend:
    """Gives logit(relevant) - logit(not relevant) behind the last token of the prompt: the log-odds, raw.

    Rows run without padding, which gives what the publishers' left padding gives: a causal model sees nothing
    but what stands before a token, and its positions count from there.
    """

    def __init__(self, spec: LoadSpec) -> None:
        """Raises: LoadFailed, ModelUnavailable, OutOfMemory."""
        options = read_options(spec, CausalRerankOptions)
        if options.recipe is None:
            raise LoadFailed(
                f"backend 'causal_rerank' needs the option 'recipe': one of {', '.join(RECIPES)}"
            )
        tokenizer = TextTokenizer(file_of(spec, "tokenizer.json"))
        self._model = TorchModel(spec, options, "causal", folder_of(spec))
        n_positions = self._model.module.config.max_position_embeddings
        self._recipe: Recipe = RECIPES[options.recipe](tokenizer, spec.max_tokens, n_positions)
        is_packed = pack(self._model.module.base_model)
        self._direction = _direction(self._model.module, self._recipe.answers)
        self.loaded = Loaded(
            capabilities=("rerank",),
            dtype=self._model.dtype,
            dimensions=1,
            max_tokens=self._recipe.max_tokens,
            n_vocabulary=tokenizer.n_vocabulary,
            n_parameters=self._model.n_parameters,
            reads_instructions=True,
            is_padded=not is_packed,
        )

    def tokenize(self, inputs: Inputs) -> TokenBatch:
        """Returns the pairs inside the recipe's prompt. Raises: InvalidRequest for anything but pairs."""
        return self._recipe.encode(require_pairs(inputs))

    def embed(self, tokens: TokenBatch, task: EmbedTask = DENSE, *, is_precise: bool = False) -> Outputs:
        """Returns the log-odds, `[n, 1]` float32, as `dense`: the only output."""
        ends = offsets_of(tokens.lengths)[1:]
        with self._model.computing(is_precise=is_precise):
            states = hidden_states(self._model.module.base_model, tokens.ids, tokens.lengths)
            scores = states[ends - 1].float() @ self._direction
            return Outputs(dense=scores[:, None].cpu().numpy())

    def free_caches(self) -> None:
        """Afterwards the device has the memory that was kept for reuse."""
        self._model.free_caches()

    def close(self) -> None:
        """Afterwards the weights are released."""
        del self._direction
        self._model.close()


def _direction(module: torch.nn.Module, answers: tuple[int, int]) -> torch.Tensor:
    """Returns `[d]` float32: a last hidden state times it is the difference of the two answers' logits.

    So of the `[tokens, vocabulary]` logits none has to be computed.
    """
    rows = module.get_output_embeddings().weight[list(answers)].detach().float()
    return rows[0] - rows[1]
