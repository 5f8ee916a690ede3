"""A table of a result, and how its cells are written."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

Result = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Table:
    """A title, a header and rows of text. The first column is the row's name."""

    title: str
    header: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]


def number(value: float) -> str:
    """Returns the value with three significant digits, thousands parted."""
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def ranged(found: dict[str, float]) -> str:
    """Returns the median with the smallest and largest."""
    to = "-" if found["min"] >= 0 else " to "
    return f"{number(found['median'])} ({number(found['min'])}{to}{number(found['max'])})"


def verdict(met: bool | None) -> str:
    """Returns whether the target was met; nothing where there was none."""
    return "" if met is None else ("pass" if met else "FAIL")
