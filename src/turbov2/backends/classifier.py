"""The page classifier: an ONNX network that gives the odds of a page being HIGH.

Made by `recipes/vl_classifier`. Beside the graph lies `classifier.json`: on what pixels the network was
trained, and how its number becomes a probability.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import onnxruntime

from turbov2.errors import InferenceFailed, LoadFailed, NotCapable
from turbov2.types import ClassifyTask, Complexity, ImageNeed, ImageTask, Loaded, LoadSpec, Seen

if TYPE_CHECKING:
    from turbov2.types.images import Pixels

GRAPH, SETTINGS = "model.onnx", "classifier.json"
_LOG_ERRORS = 3


class ClassifierSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the network is used. The probability of HIGH is sigmoid(scale * logit + offset)."""

    long_side_px: int
    short_side_px: int
    scale: float
    offset: float
    threshold: float
    """A page is called HIGH from this probability on."""
    dtype: str
    n_parameters: int


class ClassifierBackend:
    """Implements Looker. One core a page: pages are classified side by side, not faster one by one."""

    def __init__(self, spec: LoadSpec) -> None:
        """Raises: LoadFailed."""
        for name in (GRAPH, SETTINGS):
            if name not in spec.files:
                raise LoadFailed(f"the model folder has no {name}, which a page classifier needs")
        try:
            text = Path(spec.files[SETTINGS]).read_bytes()
            self._settings = msgspec.json.decode(text, type=ClassifierSettings)
        except msgspec.MsgspecError as error:
            raise LoadFailed(f"{SETTINGS} is not what a page classifier reads") from error
        self._session = _open(Path(spec.files[GRAPH]))
        self._input = self._session.get_inputs()[0].name
        need = ImageNeed(True, self._settings.long_side_px, self._settings.short_side_px, is_letterboxed=True)
        self.loaded = Loaded(
            capabilities=("classify",),
            dtype=self._settings.dtype,
            n_parameters=self._settings.n_parameters,
            image=need,
        )

    def look(self, pixels: Pixels, task: ImageTask) -> Seen:
        """Returns a Complexity of gray pixels `[h, w]` of the size that `loaded.image` asks for.

        Raises: NotCapable.
        """
        if not isinstance(task, ClassifyTask):
            raise NotCapable("a page classifier does not read text", param="model")
        (logits,) = self._session.run(None, {self._input: pixels[None, :, :, None]})
        raw = self._settings.scale * float(logits[0]) + self._settings.offset
        if not np.isfinite(raw):
            raise InferenceFailed("the page classifier gave no number for this page")
        return Complexity(float(1 / (1 + np.exp(-raw))), self._settings.threshold)

    def free_caches(self) -> None:
        """Nothing is kept."""

    def close(self) -> None:
        """Afterwards the graph's memory is free."""
        del self._session


def _open(path: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _LOG_ERRORS
    options.intra_op_num_threads = 1
    try:
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the library raises its own classes, not all of them public
        version = onnxruntime.__version__
        raise LoadFailed(f"the .onnx file is no graph that ONNX Runtime {version} runs") from error
