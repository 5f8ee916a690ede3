"""What a request's headers say about how it is handled, read in one pass."""

from __future__ import annotations

import itertools
import math
import re
import secrets
from typing import NamedTuple, cast, get_args

from turbov2.errors import InvalidRequest
from turbov2.types import Lane
from turbov2.units import parse_duration_s
from turbov2.wire._http import Scope

_CLIENT_ID = re.compile(rb"[A-Za-z0-9._:/+=-]{1,128}")
# Unique without asking the kernel for randomness at every request.
_ID_PREFIX = "req_" + secrets.token_hex(8)
_REQUEST_NUMBERS = itertools.count(1)
_WANTED = frozenset((b"x-request-id", b"x-lane", b"x-request-timeout", b"traceparent", b"tracestate"))
_LANES = get_args(Lane)


class Wishes(NamedTuple):
    """The request's id, and what its sender asked for beside the body."""

    request_id: str
    lane: bytes = b""
    timeout: bytes = b""
    traceparent: str = ""  # W3C trace context; the library that reads it refuses what is malformed
    tracestate: str = ""


def read_headers(scope: Scope) -> Wishes:
    """Returns the wishes, not yet checked but for the id: an insane one is replaced by ours."""
    found = {name: value for name, value in scope["headers"] if name in _WANTED}
    client_id = found.get(b"x-request-id", b"")
    if _CLIENT_ID.fullmatch(client_id):
        request_id = str(client_id, "ascii")
    else:
        request_id = f"{_ID_PREFIX}{next(_REQUEST_NUMBERS):08x}"
    if len(found) <= (b"x-request-id" in found):
        return Wishes(request_id)
    return Wishes(
        request_id,
        found.get(b"x-lane", b""),
        found.get(b"x-request-timeout", b""),
        found.get(b"traceparent", b"").decode("latin-1"),
        found.get(b"tracestate", b"").decode("latin-1"),
    )


def lane_of(value: bytes) -> Lane | None:
    """Returns the lane that X-Lane names; None when there is none. Raises: InvalidRequest."""
    if not value:
        return None
    name = value.decode("latin-1").strip().lower()
    if name not in _LANES:
        raise InvalidRequest(f"X-Lane is '{name[:40]}', expected one of {', '.join(_LANES)}")
    return cast(Lane, name)


def timeout_s_of(value: bytes, default_s: float) -> float:
    """Returns the request's time limit in seconds, infinity for none.

    X-Request-Timeout is a number of seconds or a duration such as 500ms; the shorter of it and the
    server's limit counts. Raises: InvalidRequest.
    """
    limit_s = default_s or math.inf
    if not value:
        return limit_s
    text = value.decode("latin-1").strip()
    try:
        wanted_s = parse_duration_s(text if text[-1:].isalpha() else f"{text}s")
    except ValueError:
        wanted_s = 0.0
    if not 0 < wanted_s < math.inf:
        raise InvalidRequest(f"X-Request-Timeout is '{text[:40]}', expected seconds such as 30 or 500ms")
    return min(wanted_s, limit_s)
