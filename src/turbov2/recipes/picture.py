"""Quality as a picture. Needs matplotlib, which no extra of ours brings."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np

from turbov2.errors import ModelUnavailable
from turbov2.recipes.metrics import Estimate

_COLOURS = ("#8b949e", "#1f6feb", "#2da44e", "#e3b341", "#cf222e", "#79b8ff")


def make_figure(width: float, height: float) -> Any:
    """Returns an empty figure that draws without a display. Raises: ModelUnavailable without matplotlib."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ModelUnavailable("a plot needs matplotlib: pip install matplotlib") from error
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def draw_quality(path: Path, sides: Mapping[str, Mapping[str, Estimate]], title: str) -> None:
    """Afterwards the PNG shows the metrics with their intervals. Raises: ModelUnavailable, OSError."""
    figure = make_figure(7, 4.2)
    plot_quality(figure.subplots(), sides, title)
    figure.savefig(path, dpi=110, format="png")


def plot_quality(axes: Any, sides: Mapping[str, Mapping[str, Estimate]], title: str) -> None:
    """Afterwards the axes hold those bars."""
    width = 0.8 / len(sides)
    for number, ((name, quality), colour) in enumerate(zip(sides.items(), cycle(_COLOURS), strict=False)):
        means = [each.mean for each in quality.values()]
        reach = [
            [each.mean - each.low for each in quality.values()],
            [each.high - each.mean for each in quality.values()],
        ]
        places = np.arange(len(means)) + (number - (len(sides) - 1) / 2) * width
        axes.bar(
            places, means, width * 0.95, yerr=reach, color=colour, label=name, ecolor="#24292f", capsize=3
        )
    metrics = list(next(iter(sides.values())))
    axes.set_xticks(range(len(metrics)), metrics)
    axes.set_ylim(0, 1)
    axes.set_title(title, fontsize=9)
    axes.legend(frameon=False, fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.07), ncols=3)
