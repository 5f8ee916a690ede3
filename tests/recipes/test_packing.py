"""The packed graph of the page classifier gives the logits of the plain one, to the last bit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")

from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static  # noqa: E402

from recipes.vl_classifier.network import PageNetwork  # noqa: E402
from recipes.vl_classifier.packing import PAGE, pack  # noqa: E402
from recipes.vl_classifier.quantise import export, ink_array  # noqa: E402


class _Noise(CalibrationDataReader):
    def __init__(self) -> None:
        generator = np.random.default_rng(1)
        pages = [generator.integers(0, 256, (96, 64), np.uint8) for _ in range(2)]
        self._pages = iter([np.full((96, 64), 0, np.uint8), *pages])

    def get_next(self):
        page = next(self._pages, None)
        return None if page is None else {"ink": ink_array(page)}


def _logit(path: Path, name: str, value: np.ndarray) -> float:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return float(session.run(None, {name: value})[0][0])


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # the exporter that the recipe was run with
def test_packed_graph_gives_the_same_logits(tmp_path: Path) -> None:
    torch.manual_seed(3)
    full, small = tmp_path / "float32.onnx", tmp_path / "int8.onnx"
    export(PageNetwork(), full)
    quantize_static(
        str(full),
        str(small),
        _Noise(),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
    )
    generator = np.random.default_rng(2)
    shapes = [(512, 384), (384, 512), (64, 96)]
    pages = [generator.integers(0, 256, shape, np.uint8) for shape in shapes]
    pages += [np.full((64, 64), 255, np.uint8), np.zeros((64, 64), np.uint8)]
    plain = [_logit(small, "ink", ink_array(page)) for page in pages]

    pack(small)

    assert [_logit(small, PAGE, page[None, :, :, None]) for page in pages] == plain
    assert len(set(plain)) > 1
