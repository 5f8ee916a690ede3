"""What travels with a request and is not part of what was asked."""

from __future__ import annotations

import msgspec


class Context(msgspec.Struct, frozen=True):
    """Made once at the edge, passed down, never global. Cancelling is cancelling the asyncio task."""

    request_id: str
    key_id: str = ""  # first hex digits of the key's hash; empty when no key was needed
