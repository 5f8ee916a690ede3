"""A page classifier that is right by construction: the darker a page, the more it is HIGH."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from turbov2.backends.classifier import GRAPH, SETTINGS, ClassifierSettings

SCALE, OFFSET, THRESHOLD = 2.0, -1.0, 0.3


def make_classifier(folder: Path) -> Path:
    """Writes the model: of a logit of 10 x mean ink, sigmoid(2 x logit - 1) is the probability of HIGH."""
    folder.mkdir(parents=True, exist_ok=True)
    ten = numpy_helper.from_array(np.array(10, np.float32), "ten")
    axes = numpy_helper.from_array(np.array([1, 2, 3]), "axes")
    white = numpy_helper.from_array(np.array(255, np.float32), "white")
    nodes = [
        helper.make_node("Cast", ["page"], ["light"], to=TensorProto.FLOAT),
        helper.make_node("Sub", ["white", "light"], ["dark"]),
        helper.make_node("Div", ["dark", "white"], ["ink"]),
        helper.make_node("ReduceMean", ["ink", "axes"], ["mean"], keepdims=0),
        helper.make_node("Mul", ["mean", "ten"], ["logit"]),
    ]
    page = helper.make_tensor_value_info("page", TensorProto.UINT8, [1, "height", "width", 1])
    logit = helper.make_tensor_value_info("logit", TensorProto.FLOAT, [1])
    graph = helper.make_graph(nodes, "darkness", [page], [logit], [ten, axes, white])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(model, str(folder / GRAPH))
    settings = ClassifierSettings(512, 384, SCALE, OFFSET, THRESHOLD, "float32", 1)
    (folder / SETTINGS).write_bytes(msgspec.json.encode(settings))
    return folder


def p_high(mean_ink: float) -> float:
    """Returns what the model says of a page with this much ink, 0 to 1."""
    return float(1 / (1 + np.exp(-(SCALE * 10 * mean_ink + OFFSET))))
