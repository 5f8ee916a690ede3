"""CrossEncoderBackend: a sequence-classification folder with one label, as an Embedder of pairs."""

from __future__ import annotations

import numpy as np
import torch

from turbov2.backends.options import read_options
from turbov2.backends.packed import first_position
from turbov2.backends.tokenizer import TextTokenizer
from turbov2.backends.tokens import pad_right, require_pairs
from turbov2.backends.torch_models import TorchModel, TorchOptions, file_of, folder_of
from turbov2.errors import LoadFailed
from turbov2.types import DENSE, EmbedTask, Inputs, Loaded, LoadSpec, Outputs, TokenBatch


class CrossEncoderBackend:
    """Reads query and document together and gives the raw logit of its one label.

    The same number as Sentence Transformers' `CrossEncoder.predict` with `activation_fn=Identity()`; its
    default, and Mixedbread's own package, put a sigmoid on top. Of a pair that is too long the longer text
    loses its end first.
    """

    def __init__(self, spec: LoadSpec) -> None:
        """Raises: LoadFailed, ModelUnavailable, OutOfMemory."""
        self._tokenizer = TextTokenizer(file_of(spec, "tokenizer.json"))
        self._model = TorchModel(spec, read_options(spec, TorchOptions), "classifier", folder_of(spec))
        config = self._model.module.config
        if config.num_labels != 1:
            raise LoadFailed(
                f"the model has {config.num_labels} labels: only a cross-encoder with one, the relevance, "
                "can rerank"
            )
        self._has_types = getattr(config, "type_vocab_size", 0) > 1
        # Classifiers on decoders look for the last token that is not padding, and know it by the config's id.
        self._pad_id = self._tokenizer.pad_id if config.pad_token_id is None else config.pad_token_id
        n_positions = getattr(config, "max_position_embeddings", None) or 0
        limits = (spec.max_tokens, n_positions - first_position(self._model.module.base_model))
        self.loaded = Loaded(
            capabilities=("rerank",),
            dtype=self._model.dtype,
            dimensions=1,
            max_tokens=min((limit for limit in limits if limit is not None and limit > 0), default=None),
            n_vocabulary=self._tokenizer.n_vocabulary,
            n_parameters=self._model.n_parameters,
            is_padded=True,
        )

    def tokenize(self, inputs: Inputs) -> TokenBatch:
        """Returns the pairs with their special tokens. Raises: InvalidRequest for anything but pairs."""
        return self._tokenizer.encode(require_pairs(inputs), self.loaded.max_tokens)

    def embed(self, tokens: TokenBatch, task: EmbedTask = DENSE, *, is_precise: bool = False) -> Outputs:
        """Returns the raw logits, `[n, 1]` float32, as `dense`: the only output."""
        ids, is_token = pad_right(tokens, self._pad_id)
        feed = {"input_ids": ids, "attention_mask": is_token.astype(np.int64)}
        if self._has_types and tokens.second_starts is not None:
            is_second = np.arange(ids.shape[1]) >= tokens.second_starts[:, None]
            feed["token_type_ids"] = (is_second & is_token).astype(np.int64)
        with self._model.computing(is_precise=is_precise):
            tensors = {name: torch.from_numpy(array).to(self._model.device) for name, array in feed.items()}
            logits = self._model.module(**tensors).logits
            return Outputs(dense=logits.float().cpu().numpy())

    def free_caches(self) -> None:
        """Afterwards the device has the memory that was kept for reuse."""
        self._model.free_caches()

    def close(self) -> None:
        """Afterwards the weights are released."""
        self._model.close()
