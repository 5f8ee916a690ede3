"""The teacher: a transformer in a local Sentence-Transformers folder, read with torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import orjson

from turbov2.errors import LoadFailed, ModelUnavailable

if TYPE_CHECKING:
    from turbov2.types.embed import FloatMatrix

Pooling = Literal["mean", "first", "last"]
OnProgress = Callable[[int, int], None]  # done, total

_PACKAGES = ("torch", "transformers", "sentence_transformers")
_BATCH_ROWS = 256


class Teacher:
    """The bare transformer of a folder, without pooling, projections or prompts of its own, on the CPU.

    Raises: ModelUnavailable without torch and transformers, LoadFailed.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._files = transformer_folder(folder)
        self.tokenizer = _read(self._files, "tokenizer.json")
        self.padding = _padding_token(self._files, self.tokenizer)
        self._model: Any = _load(self._files)
        self.dimensions = int(self._model.config.hidden_size)

    def embed_tokens(
        self, inputs: Sequence[Sequence[int]], pooling: Pooling, on_progress: OnProgress
    ) -> FloatMatrix:
        """Returns `[n, d]` float32: one pooled vector of the last layer for each input, in order.

        inputs: token ids, special tokens included; those of one length share batches, so nothing is padded.
        """
        vectors = np.empty((len(inputs), self.dimensions), np.float32)
        by_length = sorted(range(len(inputs)), key=lambda row: len(inputs[row]))
        n_done = 0
        for _, same in groupby(by_length, key=lambda row: len(inputs[row])):
            rows = list(same)
            for start in range(0, len(rows), _BATCH_ROWS):
                batch = rows[start : start + _BATCH_ROWS]
                vectors[batch] = self._embed([inputs[row] for row in batch], pooling)
                n_done += len(batch)
                on_progress(n_done, len(inputs))
        return np.nan_to_num(vectors, copy=False)  # as Model2Vec: an odd token must not spoil the components

    def _embed(self, batch: Sequence[Sequence[int]], pooling: Pooling) -> FloatMatrix:
        import torch

        with torch.inference_mode():
            ids = torch.tensor(batch)
            hidden = self._model(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state.float()
            pooled = hidden.mean(dim=1) if pooling == "mean" else hidden[:, 0 if pooling == "first" else -1]
            vectors: FloatMatrix = pooled.numpy()
        return vectors


def transformer_folder(folder: Path) -> Path:
    """Returns where the transformer lies: the folder itself, or the one that its modules.json names."""
    if not (folder / "modules.json").is_file():
        return folder
    try:
        modules = orjson.loads(_read(folder, "modules.json"))
        path: str = next(each["path"] for each in modules if each["type"].endswith("Transformer"))
    except (orjson.JSONDecodeError, KeyError, TypeError, StopIteration) as error:
        raise LoadFailed("the teacher's modules.json names no transformer") from error
    return folder / path


def _read(folder: Path, name: str) -> bytes:
    if not (folder / name).is_file():
        raise LoadFailed(f"the teacher's folder has no {name}")
    return (folder / name).read_bytes()


def _padding_token(files: Path, tokenizer: bytes) -> str | None:
    """Returns the padding token: tokenizer.json names it only where padding is switched on."""
    padding = orjson.loads(tokenizer).get("padding")
    if padding:
        return str(padding["pad_token"])
    if not (files / "tokenizer_config.json").is_file():
        return None
    named: Any = orjson.loads(_read(files, "tokenizer_config.json")).get("pad_token")
    return str(named["content"]) if isinstance(named, dict) else named


def _load(files: Path) -> Any:
    if not all(map(find_spec, _PACKAGES)):
        raise ModelUnavailable(
            "a teacher needs the extra 'sentence': pip install 'deposium-embeddings-turbov2[sentence]'"
        )
    import torch
    import transformers

    log: Any = transformers.utils.logging
    log.disable_progress_bar()
    try:
        model = transformers.AutoModel.from_pretrained(
            str(files),
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            dtype=torch.float32,
        )
    except (OSError, ValueError, ImportError) as error:  # what it raises for files that are not a model
        raise LoadFailed(
            "the teacher's folder holds no transformer in safetensors that this version reads"
        ) from error
    return model.eval()
