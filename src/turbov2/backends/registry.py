"""Backend name → where it lives and what it needs: the only list of backends."""

from __future__ import annotations

import importlib
import importlib.util
from typing import cast

import msgspec

from turbov2.backends.protocol import BackendFactory
from turbov2.errors import ModelUnavailable


class BackendEntry(msgspec.Struct, frozen=True):
    """`target` is "module:Class"; `requires` are the modules that must be importable."""

    target: str
    requires: tuple[str, ...] = ()


BACKENDS: dict[str, BackendEntry] = {
    "static": BackendEntry("turbov2.backends.static:StaticBackend"),
    "sentence": BackendEntry("turbov2.backends.sentence:SentenceBackend", ("torch", "transformers")),
    "onnx": BackendEntry("turbov2.backends.onnx:OnnxBackend", requires=("onnxruntime",)),
    "cross_encoder": BackendEntry(
        "turbov2.backends.cross_encoder:CrossEncoderBackend", ("torch", "transformers")
    ),
    "fake": BackendEntry("turbov2.backends.fake:FakeBackend"),
}


def missing_modules(backend: str) -> tuple[str, ...]:
    """Returns the modules this backend needs and this interpreter lacks. Imports nothing."""
    return tuple(m for m in BACKENDS[backend].requires if importlib.util.find_spec(m) is None)


def backend_factory(backend: str) -> BackendFactory:
    """Returns the backend's factory, importing its module.

    Raises: ModelUnavailable when this version has no such backend.
    """
    entry = BACKENDS.get(backend)
    if entry is None:
        raise ModelUnavailable(f"backend '{backend}' is not built in this version")
    module, _, name = entry.target.partition(":")
    return cast(BackendFactory, getattr(importlib.import_module(module), name))
