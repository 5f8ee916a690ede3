"""How much memory there is and how much a process takes."""

from __future__ import annotations

from pathlib import Path

import psutil

# cgroup v2, then v1: the limit a container runs under.
_CGROUP_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
BUDGET_FRACTION = 0.8


def host_limit_bytes() -> int:
    """Returns the memory this process may use: the container's limit, or the machine's memory."""
    total = int(psutil.virtual_memory().total)
    for path in _CGROUP_LIMITS:
        try:
            text = Path(path).read_text("ascii").strip()
        except OSError:
            continue
        if text.isdigit():
            return min(int(text), total)
    return total


def default_budget_bytes() -> int:
    """Returns the budget for models when none is set."""
    return int(host_limit_bytes() * BUDGET_FRACTION)


def resident_bytes(pid: int) -> int:
    """Returns the resident set of a process, 0 when it is gone."""
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return 0
