"""Small random encoders in ONNX, as model makers export theirs, beside the torch modules they came from.

They show that the path is right, not that vectors are good. Needs torch, transformers, onnx and onnxscript.
"""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    BertModel,
    XLMRobertaConfig,
    XLMRobertaModel,
)

from tests.support.tiny_tokenizers import save_tokenizer
from turbov2.types import LoadSpec

_N_VOCABULARY = 400
_SIZES = {
    "vocab_size": _N_VOCABULARY,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "initializer_range": 0.3,  # wide, so that rows differ clearly
    "attn_implementation": "eager",
}


class Encoder(nn.Module):
    """Hidden states of a BERT, a small random one unless it is given."""

    def __init__(self, bert: BertModel | None = None) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.bert = (bert or BertModel(BertConfig(**_SIZES, max_position_embeddings=512))).eval()
        self.config = self.bert.config

    @classmethod
    def of(cls, folder: Path) -> Encoder:
        """Returns the encoder whose weights lie in `folder`."""
        return cls(BertModel.from_pretrained(folder, local_files_only=True, attn_implementation="eager"))

    def forward(self, input_ids: Any, attention_mask: Any, token_type_ids: Any) -> Any:
        inputs = {"attention_mask": attention_mask, "token_type_ids": token_type_ids}
        return self.bert(input_ids=input_ids, **inputs).last_hidden_state


class ThreeHeads(nn.Module):
    """bge-m3's architecture: a vector, a weight for each token, and a vector for each but the first."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(2)
        config = XLMRobertaConfig(**_SIZES, max_position_embeddings=130, pad_token_id=1, type_vocab_size=1)
        self.encoder = XLMRobertaModel(config).eval()
        self.sparse = nn.Linear(32, 1)
        self.colbert = nn.Linear(32, 32)
        self.config = config

    def forward(self, input_ids: Any, attention_mask: Any) -> Any:
        states = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        weights = torch.relu(self.sparse(states))
        return states[:, 0], weights, self.colbert(states[:, 1:]) * attention_mask[:, 1:, None]


class PairScorer(nn.Module):
    """A cross-encoder: one number for two texts."""

    def __init__(self, bert: BertForSequenceClassification | None = None) -> None:
        super().__init__()
        torch.manual_seed(3)
        config = BertConfig(**_SIZES, max_position_embeddings=64, num_labels=1)
        self.bert = (bert or BertForSequenceClassification(config)).eval()
        self.config = self.bert.config

    @classmethod
    def of(cls, folder: Path) -> PairScorer:
        """Returns the cross-encoder whose weights lie in `folder`."""
        options = {"local_files_only": True, "attn_implementation": "eager"}
        return cls(BertForSequenceClassification.from_pretrained(folder, **options))

    def forward(self, input_ids: Any, attention_mask: Any, token_type_ids: Any) -> Any:
        inputs = {"attention_mask": attention_mask, "token_type_ids": token_type_ids}
        return self.bert(input_ids=input_ids, **inputs).logits


_KINDS: dict[str, tuple[type[Any], str, list[str]]] = {
    "encoder": (Encoder, "bert", ["last_hidden_state"]),
    "three-heads": (ThreeHeads, "xlm-roberta", ["dense_vecs", "sparse_vecs", "colbert_vecs"]),
    "pair-scorer": (PairScorer, "bert", ["logits"]),
}


def export(kind: str, folder: Path) -> nn.Module:
    """Writes `model.onnx`, `config.json` and the tokenizer. Returns the module behind them."""
    make, family, outputs = _KINDS[kind]
    save_tokenizer(family, folder)
    module = make().eval()
    (folder / "config.json").write_text(json.dumps(module.config.to_dict()))
    export_module(module, outputs, folder / "model.onnx")
    return module


def export_module(module: nn.Module, outputs: list[str], path: Path) -> None:
    """Writes the graph, with batch and length left open."""
    names = list(module.forward.__code__.co_varnames[1 : module.forward.__code__.co_argcount])
    ids = torch.full((2, 7), 5, dtype=torch.int64)
    values = {
        "input_ids": ids,
        "attention_mask": torch.ones_like(ids),
        "token_type_ids": torch.zeros_like(ids),
    }
    axes = {0: torch.export.Dim("rows"), 1: torch.export.Dim("longest")}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own
        program = torch.onnx.export(
            module,
            tuple(values[name] for name in names),
            input_names=names,
            output_names=outputs,
            dynamic_shapes=tuple(axes for _ in names),
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    program.save(str(path))


def quantise(folder: Path) -> None:
    """Afterwards `model.onnx` computes with integers whose scales are taken at run time."""
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    path = folder / "model.onnx"
    model = onnx.load(path)
    del model.graph.value_info[:]  # the exporter's own shapes, some of which the quantiser's check refuses
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        quantize_dynamic(model, path, weight_type=QuantType.QInt8, per_channel=True)


def spec_of(folder: Path, **more: Any) -> LoadSpec:
    """Returns how the folder's model is loaded."""
    files = {path.relative_to(folder).as_posix(): str(path) for path in folder.rglob("*") if path.is_file()}
    return LoadSpec(**{"model": "tiny", "backend": "onnx", "files": files, "revision": "", **more})
