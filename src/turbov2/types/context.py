"""What travels with a request and is not part of what was asked."""

from __future__ import annotations

from typing import Literal

import msgspec

Lane = Literal["interactive", "default", "bulk"]


class Context(msgspec.Struct, frozen=True):
    """Made once at the edge, passed down, never global. Cancelling is cancelling the asyncio task.

    A deadline is a cancel as well: the edge cancels the task and answers 504.
    """

    request_id: str
    key_id: str = ""  # first hex digits of the key's hash; empty when no key was needed
    lane: Lane | None = None  # None: inferred from the request's size
    traceparent: str = ""  # W3C trace context of the caller's span; empty: none
