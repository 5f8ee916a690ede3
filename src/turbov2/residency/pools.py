"""Pools of memory, and sums of the bytes in them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

Pool = str  # "host", or a device as its library names it: "cuda:0"
Bytes = Mapping[Pool, int]
HOST: Pool = "host"


def sum_bytes(parts: Iterable[Bytes]) -> dict[Pool, int]:
    """Returns the sum of all parts, pool by pool."""
    total: dict[Pool, int] = {}
    for part in parts:
        for pool, n_bytes in part.items():
            total[pool] = total.get(pool, 0) + n_bytes
    return total


def largest_bytes(parts: Iterable[Bytes]) -> dict[Pool, int]:
    """Returns the largest of all parts, pool by pool."""
    largest: dict[Pool, int] = {}
    for part in parts:
        for pool, n_bytes in part.items():
            largest[pool] = max(largest.get(pool, 0), n_bytes)
    return largest


def lacking(need: Bytes, free: Bytes) -> list[Pool]:
    """Returns the pools where what is needed is more than what is free."""
    return [pool for pool, n_bytes in need.items() if n_bytes > free.get(pool, 0)]


def in_words(bytes_: Bytes) -> str:
    """Returns "120 MB" of host memory, or "120 MB and 2,048 MB on cuda:0"."""
    parts = [in_mb(n_bytes) + ("" if pool == HOST else f" on {pool}") for pool, n_bytes in bytes_.items()]
    return " and ".join(parts) or in_mb(0)


def in_mb(n_bytes: int) -> str:
    """Returns whole megabytes; a little is never shown as nothing."""
    return f"{n_bytes / 1e6:,.0f} MB" if not 0 < n_bytes < 500_000 else "under 1 MB"
