"""The INT8 graph laid out for speed: the same integers, so the same logits to the last bit.

It takes the page's bytes instead of float32 ink, and its first convolution has neighbours of a row as
channels: with one channel, gathering the pixels of a 3x3 convolution takes longer than its arithmetic.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import GraphProto, NodeProto, TensorProto, helper, numpy_helper

PAGE = "page"
GROUP = 8  # neighbours; divides the width. 4 and 16 were as fast, 2 was slower than none
_WHITE = 255


def pack(path: Path) -> None:
    """Rewrites the graph: its input is gray pixels, uint8 `[1, h, w, 1]`.

    Before, it began with float32 ink `[1, 1, h, w]`, quantised, and a 3x3 convolution with stride 2.
    """
    model = onnx.load(path)
    graph = model.graph
    quantise = _reader(graph, graph.input[0].name)
    convolution = _reader(graph, _reader(graph, quantise.output[0]).output[0])
    n_out = _pack_weights(graph, convolution)
    _set(graph, quantise.input[2], np.array(_WHITE, np.uint8))  # white is 0 ink, and black is -255
    last = _reader(graph, convolution.output[0])
    while last.op_type != "QuantizeLinear":
        last = _reader(graph, last.output[0])
    before, after = _relaid(PAGE, GROUP, "groups"), _relaid("results", n_out, last.output[0])
    _reader(graph, quantise.output[0]).input[0] = "groups"
    graph.initializer.extend([_shape("groups_shape", GROUP), _shape(f"{last.output[0]}_shape", n_out)])
    last.output[0] = "grouped_results"
    rows = helper.make_node("Transpose", [last.output[0]], ["results"], perm=[0, 2, 3, 1])
    nodes = [node for node in graph.node if node is not quantise]
    place = nodes.index(last) + 1
    _replace(graph, [*before, *nodes[:place], rows, *after, *nodes[place:]])
    shape = [1, "height", "width", 1]
    graph.input[0].CopyFrom(helper.make_tensor_value_info(PAGE, TensorProto.UINT8, shape))
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, str(path))


def packed_weights(weights: NDArray[np.int8]) -> NDArray[np.int8]:
    """Returns `[GROUP / 2 * n, GROUP, 3, 2]` of `[n, 1, 3, 3]`: taps in the group before and in this one."""
    packed = np.zeros((GROUP // 2, len(weights), GROUP, 3, 2), np.int8)
    for place in range(GROUP // 2):
        for tap in range(3):
            column = 2 * place - 1 + tap  # the first result begins in the group before
            packed[place, :, column % GROUP, :, int(column >= 0)] = weights[:, 0, :, tap]
    return packed.reshape(-1, GROUP, 3, 2)


def _pack_weights(graph: GraphProto, convolution: NodeProto) -> int:
    """Returns the number of filters there were."""
    weight, bias = (_writer(graph, name) for name in convolution.input[1:3])
    filters = _array(graph, weight.input[0])
    _set(graph, weight.input[0], packed_weights(-filters))  # symmetric: none is -128
    for name in {*weight.input[1:], *bias.input}:  # one each for every filter
        _set(graph, name, np.tile(_array(graph, name), GROUP // 2))
    del convolution.attribute[:]
    settings = {"kernel_shape": [3, 2], "strides": [2, 1], "pads": [1, 1, 0, 0]}
    convolution.attribute.extend(helper.make_attribute(name, value) for name, value in settings.items())
    return len(filters)


def _relaid(rows: str, n_channels: int, name: str) -> list[NodeProto]:
    """Returns nodes that cut rows `[1, h, w, c]` into `n_channels`, channels first, under this name."""
    shape, cut = f"{name}_shape", f"{name}_cut"
    reshape = helper.make_node("Reshape", [rows, shape], [cut])
    return [reshape, helper.make_node("Transpose", [cut], [name], perm=[0, 3, 1, 2])]


def _shape(name: str, n_channels: int) -> TensorProto:
    return numpy_helper.from_array(np.array([0, 0, -1, n_channels]), name)  # 0: as it was


def _reader(graph: GraphProto, name: str) -> NodeProto:
    (node,) = (node for node in graph.node if name in node.input)
    return node


def _writer(graph: GraphProto, name: str) -> NodeProto:
    return next(node for node in graph.node if name in node.output)


def _array(graph: GraphProto, name: str) -> NDArray[np.int8]:
    return numpy_helper.to_array(next(each for each in graph.initializer if each.name == name))


def _set(graph: GraphProto, name: str, value: NDArray[np.generic]) -> None:
    next(each for each in graph.initializer if each.name == name).CopyFrom(
        numpy_helper.from_array(value, name)
    )


def _replace(graph: GraphProto, nodes: list[NodeProto]) -> None:
    kept = [NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:], graph.value_info[:]
    graph.node.extend(kept)
