"""all-MiniLM-L6-v2, whose published weights a package carries, in the form that each engine reads."""

from __future__ import annotations

import json
import os
from pathlib import Path

from turbov2.engine.shelf import load_catalog, open_shelf
from turbov2.settings import load_settings

MODEL = "all-minilm-l6-v2"
ENGINES = ("torch", "onnx", "int8")
# Cross-encoders of the same size: MiniLM with a random head, so they show speed and say nothing of quality.
PAIR_ENGINES = ("pairs-torch", "pairs-onnx")


def make_folder(folder: Path, engine: str) -> Path:
    """Returns the folder, now a model for this engine, one of ENGINES or PAIR_ENGINES.

    "onnx" has a float32 graph in place of safetensors, "int8" one with dynamic quantisation. The weights are
    pulled if they are not there yet.
    """
    from tests.support import tiny_onnx

    sources = {name: Path(source).resolve() for name, source in files().items()}
    weights, is_pairs = sources["model.safetensors"].parent, engine in PAIR_ENGINES
    for name, source in sources.items():
        is_tokenizer = name.startswith(("tokenizer", "vocab", "special"))
        if is_tokenizer or (not is_pairs and (engine == "torch" or not name.endswith(".safetensors"))):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).symlink_to(source)
    if is_pairs:
        _save_cross_encoder(weights, folder)
    if engine == "pairs-onnx":
        module = tiny_onnx.PairScorer.of(folder).eval()
        tiny_onnx.export_module(module, ["logits"], folder / "model.onnx")
        (folder / "model.safetensors").unlink()
    elif engine in ("onnx", "int8"):
        module = tiny_onnx.Encoder.of(weights).eval()
        tiny_onnx.export_module(module, ["last_hidden_state"], folder / "model.onnx")
    if engine == "int8":
        tiny_onnx.quantise(folder)
    return folder


def files() -> dict[str, str]:
    """Returns name -> path of the model as it was pulled."""
    settings = load_settings(os.environ)
    catalog = load_catalog(settings)
    return open_shelf(settings, catalog).load_spec(catalog.resolve(MODEL)).files


def _save_cross_encoder(weights: Path, folder: Path) -> None:
    import torch
    from transformers import BertForSequenceClassification

    torch.manual_seed(0)
    model = BertForSequenceClassification.from_pretrained(weights, num_labels=1, local_files_only=True)
    model.save_pretrained(folder, safe_serialization=True)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"id2label": {"0": "score"}}))
