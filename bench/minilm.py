"""all-MiniLM-L6-v2, whose published weights a package carries, in the form that each engine reads."""

from __future__ import annotations

import os
from pathlib import Path

from turbov2.engine.shelf import load_catalog, open_shelf
from turbov2.settings import load_settings

MODEL = "all-minilm-l6-v2"
# Engine -> folder: torch reads safetensors, the others a graph made from the same weights.
ENGINES = ("torch", "onnx", "int8")
MAX_TOKENS = 256  # sentence_bert_config.json


def make_folders(parent: Path) -> dict[str, Path]:
    """Returns a folder for each of ENGINES."""
    return {engine: make_folder(parent / engine, engine) for engine in ENGINES}


def make_folder(folder: Path, engine: str) -> Path:
    """Returns the folder, now a Sentence-Transformers folder for this engine.

    "onnx" has a float32 graph in place of safetensors, "int8" one with dynamic quantisation. The weights are
    pulled if they are not there yet.
    """
    sources = {name: Path(source).resolve() for name, source in files().items()}
    for name, source in sources.items():
        if engine == "torch" or not name.endswith(".safetensors"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).symlink_to(source)
    if engine != "torch":
        from tests.support import tiny_onnx

        module = tiny_onnx.Encoder.of(sources["model.safetensors"].parent).eval()
        tiny_onnx.export_module(module, ["last_hidden_state"], folder / "model.onnx")
        if engine == "int8":
            tiny_onnx.quantise(folder)
    return folder


def files() -> dict[str, str]:
    """Returns name -> path of the model as it was pulled."""
    settings = load_settings(os.environ)
    catalog = load_catalog(settings)
    return open_shelf(settings, catalog).load_spec(catalog.resolve(MODEL)).files
