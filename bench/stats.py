"""Medians with their range."""

from __future__ import annotations

import statistics
from collections.abc import Sequence


def spread(values: Sequence[float]) -> dict[str, float]:
    """Returns median, smallest and largest, to four digits."""
    named = {"median": statistics.median(values), "min": min(values), "max": max(values)}
    return {name: float(f"{value:.4g}") for name, value in named.items()}


def quantile_ms(seconds: Sequence[float], share: float) -> float:
    """Returns the value in milliseconds that `share` of the values do not pass, to four digits."""
    ordered = sorted(seconds)
    return float(f"{ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1000:.4g}")
