"""Who has to go so that a model fits: a pure function of facts."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec


class Candidate(msgspec.Struct, frozen=True):
    """A resident as the policy sees it."""

    key: str
    bytes: int
    leases: int
    is_pinned: bool
    last_used_s: float


def choose_victims(
    need_bytes: int, free_bytes: int, residents: Sequence[Candidate]
) -> tuple[str, ...] | None:
    """Returns the keys to unload, least recently used first; () when it fits already.

    None when it does not fit even without every resident that is neither leased nor pinned.
    """
    victims: list[str] = []
    movable = [r for r in residents if not r.leases and not r.is_pinned]
    for resident in sorted(movable, key=lambda r: r.last_used_s):
        if need_bytes <= free_bytes:
            break
        victims.append(resident.key)
        free_bytes += resident.bytes
    return tuple(victims) if need_bytes <= free_bytes else None
