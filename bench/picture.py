"""What all pictures share: where they are kept and what they say about the machine."""

from __future__ import annotations

import matplotlib as mpl
from matplotlib.figure import Figure

from bench.machine import RESULTS
from bench.table import Result

mpl.use("Agg")
BLUE, LIGHT_BLUE, GREEN, RED, YELLOW, GREY, DARK = (
    "#1f6feb", "#79b8ff", "#2da44e", "#cf222e", "#e3b341", "#8b949e", "#24292f",
)  # fmt: skip


def where(result: Result) -> str:
    """Returns the machine in half a line."""
    facts = result["machine"]
    return f"{facts['cores']} cores shared with the load, Python {facts['python']}, {facts['date'][:10]}"


def save(figure: Figure, name: str) -> None:
    """Afterwards the picture is in the results."""
    figure.savefig(RESULTS / f"{name}.png", dpi=110)
