"""`python -m recipes.vl_classifier.quantise RUN OUT PREPARED ...`: the network in INT8, with calibrated odds.

Weights and activations in 8 bits, static, per channel (ONNX Runtime's QDQ form); ranges from training
pages, degraded ones too. What is left of the difference to the float32 graph is printed. Then a line is
fitted through the INT8 graph's logits of the real validation pages so that sigmoid(scale * logit + offset)
is a probability (Platt 1999), and the threshold is chosen on the same pages: as low as leaves KEPT of the
LOW ones below it, because a missed HIGH costs more than a false alarm, and never above a half.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import msgspec
import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process
from torch import Tensor, nn

from recipes.vl_classifier.batches import Prepared
from recipes.vl_classifier.canvas import LONG_SIDE, SHORT_SIDE
from recipes.vl_classifier.network import PageNetwork
from recipes.vl_classifier.packing import PAGE, pack
from turbov2.backends.classifier import GRAPH, SETTINGS, ClassifierSettings

N_CALIBRATION = 300
KEPT = 0.955  # share of LOW validation pages, degraded ones too, that stay below the threshold
OPSET = 17


class PageOnly(nn.Module):
    """The network without its map of cells, which only training needs."""

    def __init__(self, network: PageNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, ink: Tensor) -> Tensor:
        """Returns the page's logit `[n]`."""
        return self.network(ink)[0]


class Pages(CalibrationDataReader):
    """Training pages, one at a time, as onnxruntime wants them."""

    def __init__(self, prepared: Prepared, seed: int) -> None:
        generator = np.random.default_rng(seed)
        places = np.concatenate([prepared.places("train", is_wide=wide) for wide in (False, True)])
        real = np.array([prepared.rows[int(n)].is_real for n in places])
        odds = np.where(real, 0.5 / max(real.sum(), 1), 0.5 / max((~real).sum(), 1))
        chosen = generator.choice(places, N_CALIBRATION, p=odds / odds.sum(), replace=False)
        self._pages = iter([ink_array(prepared.page(int(n))) for n in chosen])

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        """Returns the next page, None when there is no more."""
        page = next(self._pages, None)
        return None if page is None else {"ink": page}


def ink_array(page: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Returns a canvas as the float32 graph reads it, `[1, 1, h, w]`."""
    return np.float32(1) - page[None, None].astype(np.float32) / np.float32(255)


def export(network: PageNetwork, path: Path) -> None:
    """Writes the float32 graph."""
    ink = torch.zeros(1, 1, LONG_SIDE, SHORT_SIDE)
    torch.onnx.export(
        PageOnly(network.eval()),
        (ink,),
        str(path),
        input_names=["ink"],
        output_names=["logit"],
        dynamic_axes={"ink": {2: "height", 3: "width"}},
        opset_version=OPSET,
        dynamo=False,
    )


def quantise(full: Path, path: Path, prepared: Prepared, seed: int) -> None:
    """Writes the INT8 graph."""
    with tempfile.TemporaryDirectory() as folder:
        ready = Path(folder) / "ready.onnx"
        quant_pre_process(str(full), str(ready), skip_symbolic_shape=True)
        quantize_static(
            str(ready),
            str(path),
            Pages(prepared, seed),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
        )
    pack(path)


def logits_of(path: Path, prepared: Prepared, places: NDArray[np.intp]) -> NDArray[np.float64]:
    """Returns a graph's logits `[n]` of these rows."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    is_packed = session.get_inputs()[0].name == PAGE
    found = []
    for n in places:
        page = prepared.page(int(n))
        feed = {PAGE: page[None, :, :, None]} if is_packed else {"ink": ink_array(page)}
        found.append(session.run(None, feed)[0][0])
    return np.array(found, np.float64)


def fit_line(logits: NDArray[np.float64], is_high: NDArray[np.bool_]) -> tuple[float, float]:
    """Returns scale and offset that make the logits log-odds: a regression, both labels weighing the same."""
    weights = np.where(is_high, 0.5 / is_high.sum(), 0.5 / (~is_high).sum())
    scale, offset = 1.0, 0.0
    for _ in range(100):  # Newton's steps
        p = 1 / (1 + np.exp(-(scale * logits + offset)))
        error, bend = weights * (p - is_high), weights * p * (1 - p)
        gradient = np.array([(error * logits).sum(), error.sum()])
        cross = (bend * logits).sum()
        curvature = np.array([[(bend * logits**2).sum(), cross], [cross, bend.sum()]]) + 1e-9 * np.eye(2)
        step = np.linalg.solve(curvature, gradient)
        scale, offset = scale - step[0], offset - step[1]
        if np.abs(step).max() < 1e-9:
            break
    return float(scale), float(offset)


def threshold_for(p_high: NDArray[np.float64], is_high: NDArray[np.bool_]) -> float:
    """Returns the probability from which a page is called HIGH."""
    return round(min(0.5, float(np.quantile(p_high[~is_high], KEPT))), 3)


def main() -> None:
    """Writes OUT/model.onnx and OUT/classifier.json."""
    parser = argparse.ArgumentParser(prog="python -m recipes.vl_classifier.quantise", description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("prepared", type=Path, nargs="+")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    prepared, network = Prepared(given.prepared), PageNetwork()
    network.load_state_dict(torch.load(given.run / "network.pt", weights_only=True))
    given.out.mkdir(parents=True, exist_ok=True)
    full, small = given.run / "float32.onnx", given.out / GRAPH
    export(network, full)
    quantise(full, small, prepared, given.seed)
    places = np.concatenate([prepared.places("validation", is_wide=wide) for wide in (False, True)])
    places = places[[prepared.rows[int(n)].is_real for n in places]]
    is_high = np.array([prepared.rows[int(n)].is_high for n in places])
    before, after = (logits_of(path, prepared, places) for path in (full, small))
    scale, offset = fit_line(after, is_high)
    p_before, p_after = (1 / (1 + np.exp(-(scale * each + offset))) for each in (before, after))
    settings = ClassifierSettings(
        LONG_SIDE,
        SHORT_SIDE,
        round(scale, 6),
        round(offset, 6),
        threshold_for(p_after, is_high),
        "int8",
        sum(parameter.numel() for parameter in network.parameters()),
    )
    (given.out / SETTINGS).write_bytes(msgspec.json.format(msgspec.json.encode(settings), indent=1) + b"\n")
    change, flips = np.abs(p_after - p_before), float(((p_before > 0.5) != (p_after > 0.5)).mean())
    print(f"{small.stat().st_size:,} bytes; {len(places)} pages: |dp| p95 {np.quantile(change, 0.95):.4f}, "
          f"labels changed {flips:.2%}; {settings}")  # fmt: skip


if __name__ == "__main__":
    main()
