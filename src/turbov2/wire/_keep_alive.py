"""`keep_alive`: how long a model stays after a request."""

from __future__ import annotations

import math

from turbov2.errors import InvalidRequest
from turbov2.units import parse_duration_s

KeepAlive = int | float | str | None

_FOR_EVER_S = 1e9  # 31 years; also keeps huge numbers out of date arithmetic


def parse_keep_alive_s(value: KeepAlive) -> float | None:
    """Returns seconds, inf for "for ever", None for the server's default. Raises: InvalidRequest."""
    if value is None:
        return None
    if isinstance(value, str):
        try:
            value = parse_duration_s(value)
        except ValueError as error:
            raise InvalidRequest(f"keep_alive: {error}", param="keep_alive") from error
    return math.inf if value < 0 or value > _FOR_EVER_S else float(value)
