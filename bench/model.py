"""The default model's files, and model2vec's StaticModel on the same weights."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from model2vec import StaticModel
    from tokenizers import Tokenizer

    from turbov2.backends.static import StaticBackend
    from turbov2.types import LoadSpec

MODEL = "wordllama-256d"  # the shipped default


def load_spec() -> LoadSpec:
    """Returns what a runner needs to load the default model."""
    from turbov2.catalog import Catalog
    from turbov2.catalog.weights import WeightsStore
    from turbov2.types import LoadSpec

    spec = Catalog.load(None, {}).resolve(MODEL)
    installed = WeightsStore(Path("unused")).locate(spec)
    if installed is None:
        raise SystemExit(f"the weights of {MODEL} are not installed: run `make setup`")
    return LoadSpec(spec.name, spec.backend, installed.files, installed.revision, spec.max_tokens)


def static_backend() -> StaticBackend:
    """Returns a fresh backend, which remembers no words."""
    from turbov2.backends.static import StaticBackend

    return StaticBackend(load_spec())


def tokenizer() -> Tokenizer:
    """Returns the model's tokenizer without truncation and padding."""
    from tokenizers import Tokenizer

    loaded = Tokenizer.from_file(load_spec().files["tokenizer.json"])
    loaded.no_truncation()
    loaded.no_padding()
    return loaded


def mean_tokens(tokenizer: Any, texts: list[str]) -> float:
    """Returns the exact mean number of tokens of these texts."""
    return float(
        sum(len(e.ids) for e in tokenizer.encode_batch_fast(texts, add_special_tokens=False)) / len(texts)
    )


def model2vec_model(dtype: str) -> StaticModel:
    """Returns model2vec's model with the rows in `dtype`: "float16" as shipped, or "float32"."""
    from model2vec import StaticModel
    from safetensors.numpy import load_file

    rows = load_file(load_spec().files["model.safetensors"])["embedding.weight"].astype(dtype)
    return StaticModel(rows, tokenizer(), normalize=True, max_length=None)
