"""Backend name → where it lives and what it needs: the only list of backends."""

from __future__ import annotations

import ctypes.util
import importlib
import importlib.metadata
import importlib.util
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import msgspec
from msgspec.structs import replace

from turbov2.backends.protocol import BackendFactory
from turbov2.errors import ModelUnavailable


class BackendEntry(msgspec.Struct, frozen=True):
    """`target` is "module:Class"; `requires` are the modules that must be importable.

    library_bytes: what a child process takes for them, before any weights. program: the option that says
    where a program is that the backend runs, itself or its folder. places: where it is in that folder.
    """

    target: str
    requires: tuple[str, ...] = ()
    library_bytes: int = 0
    program: str = ""
    places: tuple[str, ...] = ()


# USS of a child that imported them, less one that did not; measured on Linux with Python 3.11.
_TORCH = BackendEntry("", requires=("torch", "transformers"), library_bytes=340_000_000)
_ONNX = BackendEntry("", requires=("onnxruntime",), library_bytes=40_000_000)

_OCR_LIBRARY_BYTES = 60_000_000  # ONNX Runtime, OpenCV, Shapely
_LLAMA_CPP_LIBRARY_BYTES = 40_000_000  # once a model is loaded: much of its code is touched first then

_VLLM_BYTES = 1_500_000_000  # its server and its engine, a process each, before any weights
_BITNET_BYTES = 100_000_000  # templates and a vocabulary here, the server and what it computes with there
_WHISPER_LIBRARY_BYTES = 64_000_000  # CTranslate2, ONNX Runtime, PyAV

_TORCH_CUDA = re.compile(r"^cuda\b.*= *['\"]", re.MULTILINE)  # torch/version.py: a version, or None

BACKENDS: dict[str, BackendEntry] = {
    "static": BackendEntry("turbov2.backends.static:StaticBackend"),
    "onnx": replace(_ONNX, target="turbov2.backends.onnx:OnnxBackend"),
    "sentence": replace(_TORCH, target="turbov2.backends.sentence:SentenceBackend"),
    "cross_encoder": replace(_TORCH, target="turbov2.backends.cross_encoder:CrossEncoderBackend"),
    "causal_rerank": replace(_TORCH, target="turbov2.backends.causal_rerank:CausalRerankBackend"),
    "vlm": replace(
        _TORCH,
        target="turbov2.backends.vision_language:VisionLanguageBackend",
        requires=("torch", "transformers", "PIL"),
    ),
    "huggingface": replace(
        _TORCH,
        target="turbov2.backends.huggingface:HuggingFaceBackend",
        requires=("torch", "transformers", "jinja2", "llguidance"),
    ),
    "llama_cpp": BackendEntry(
        "turbov2.backends.llama_cpp:LlamaCppBackend",
        requires=("xllamacpp", "jinja2", "llguidance"),
        library_bytes=_LLAMA_CPP_LIBRARY_BYTES,
    ),
    "vllm_local": BackendEntry(
        "turbov2.backends.vllm:VllmBackend",
        requires=("jinja2", "llguidance"),
        library_bytes=_VLLM_BYTES,
        program="python",
    ),
    "bitnet": BackendEntry(
        "turbov2.backends.bitnet:BitnetBackend",
        requires=("jinja2",),
        library_bytes=_BITNET_BYTES,
        program="path",
        places=("build/bin/llama-server", "bin/llama-server", "llama-server"),
    ),
    "classifier": replace(_ONNX, target="turbov2.backends.classifier:ClassifierBackend"),
    "ocr": BackendEntry(
        "turbov2.backends.rapid_ocr.backend:RapidOcrBackend",
        requires=("onnxruntime", "rapidocr"),
        library_bytes=_OCR_LIBRARY_BYTES,
    ),
    "whisper": BackendEntry(
        "turbov2.backends.whisper:WhisperBackend",
        requires=("faster_whisper", "ctranslate2", "onnxruntime"),
        library_bytes=_WHISPER_LIBRARY_BYTES,
    ),
    # Nothing of it runs here: runners/remote speaks to the server that runs it.
    "remote_openai": BackendEntry(""),
    "vllm_remote": BackendEntry(""),
    "fake": BackendEntry("turbov2.backends.fake:FakeBackend"),
}


def missing_modules(backend: str) -> tuple[str, ...]:
    """Returns the modules this backend needs and this interpreter lacks. Imports nothing."""
    return tuple(m for m in BACKENDS[backend].requires if importlib.util.find_spec(m) is None)


def program_of(backend: str, options: Mapping[str, Any]) -> Path | None:
    """Returns the program that the backend runs, None where it is not."""
    entry = BACKENDS[backend]
    said = str(options.get(entry.program, ""))
    if not said:  # as a path this is the folder that the server was started in
        return None
    named = Path(said).expanduser().absolute()
    found = [named, *(named / place for place in entry.places)]
    return next((path for path in found if path.is_file() and os.access(path, os.X_OK)), None)


def can_use_cuda(backend: str, options: Mapping[str, Any]) -> bool:
    """Returns whether the backend's libraries are built for CUDA. Imports nothing.

    options: the model's own, which may name another Python with libraries of its own.
    """
    if backend == "vllm_local":
        return _has_cuda_torch(program_of(backend, options))
    requires = BACKENDS[backend].requires if backend in BACKENDS else ()
    if "torch" in requires:
        found = importlib.util.find_spec("torch")
        return found is not None and bool(found.origin) and _is_for_cuda(Path(str(found.origin)).parent)
    if "ctranslate2" in requires:  # built for both; it opens NVIDIA's libraries where the linker finds them
        return ctypes.util.find_library("cublas") is not None
    return "onnxruntime" in requires and _has_distribution("onnxruntime-gpu")


def _has_cuda_torch(python: Path | None) -> bool:
    """Returns whether the torch beside another Python is built for CUDA."""
    folders = python.parent.parent.glob("lib/python3*/*-packages/torch") if python is not None else ()
    return any(map(_is_for_cuda, folders))


def _is_for_cuda(torch: Path) -> bool:
    version = torch / "version.py"
    return version.is_file() and _TORCH_CUDA.search(version.read_text("utf-8")) is not None


def _has_distribution(name: str) -> bool:
    try:
        importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def backend_factory(backend: str) -> BackendFactory:
    """Returns the backend's factory, importing its module.

    Raises: ModelUnavailable when this version has no such backend.
    """
    entry = BACKENDS.get(backend)
    if entry is None:
        raise ModelUnavailable(f"backend '{backend}' is not built in this version")
    module, _, name = entry.target.partition(":")
    return cast(BackendFactory, getattr(importlib.import_module(module), name))
