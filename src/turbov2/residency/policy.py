"""Who has to go so that a model fits: a pure function of facts."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from turbov2.catalog.spec import Priority
from turbov2.residency.pools import Bytes, Pool, lacking

_RANKS: dict[Priority, int] = {"low": 0, "normal": 1, "high": 2}


class Candidate(msgspec.Struct, frozen=True):
    """A resident as the policy sees it."""

    key: str
    bytes: dict[Pool, int]
    leases: int = 0
    is_pinned: bool = False
    priority: Priority = "normal"
    is_for_ever: bool = False  # its keep_alive never ends
    has_stayed: bool = True  # ready long enough that draining it is no thrashing
    last_used_s: float = 0.0
    n_uses: int = 1
    reload_s: float = 1.0
    clock: float = 0.0  # the policy's, at its last use


def value(candidate: Candidate) -> float:
    """Returns what keeping it is worth: seconds of loading saved per megabyte, on top of the clock.

    Greedy-Dual-Size (Cao and Irani, "Cost-Aware WWW Proxy Caching Algorithms", USENIX Symposium on Internet
    Technologies and Systems, 1997) with the number of uses as a factor of the cost. The caller's clock rises
    to the value of whatever is evicted, so what is not used any more grows old however dear it was.
    """
    size_mb = max(sum(candidate.bytes.values()) / 1e6, 1.0)
    return candidate.clock + candidate.n_uses * candidate.reload_s / size_mb


def choose_victims(
    need: Bytes, free: Bytes, candidates: Sequence[Candidate], *, may_drain: bool = False
) -> tuple[Candidate, ...] | None:
    """Returns who has to go so that `need` fits into `free`, first the one least worth keeping.

    () when it fits already; None when it does not fit even without everyone who may go: those neither leased
    nor pinned and, if `may_drain`, leased ones that have stayed long enough. Those go after all idle ones;
    then low before normal before high priority, then those with a keep_alive before those for ever, then by
    value; of equal value the least recently used. Nobody goes who would not help.
    """
    left = dict(free)
    victims: list[Candidate] = []
    for candidate in sorted((c for c in candidates if _may_go(c, may_drain)), key=_order):
        pools = lacking(need, left)
        if not pools:
            break
        if any(candidate.bytes.get(pool, 0) > 0 for pool in pools):
            victims.append(candidate)
            _shift(left, candidate.bytes, 1)
    if lacking(need, left):
        return None
    return tuple(_without_needless(victims, need, left))


def _may_go(candidate: Candidate, may_drain: bool) -> bool:
    return not candidate.is_pinned and (not candidate.leases or (may_drain and candidate.has_stayed))


def _order(candidate: Candidate) -> tuple[bool, int, bool, float, float]:
    rank = _RANKS[candidate.priority]
    is_used = candidate.leases > 0
    return is_used, rank, candidate.is_for_ever, value(candidate), candidate.last_used_s


def _without_needless(victims: list[Candidate], need: Bytes, left: dict[Pool, int]) -> list[Candidate]:
    """Returns the victims without those whom larger ones chosen after them made needless."""
    kept = list(victims)
    for candidate in reversed(victims):  # the one most worth keeping is spared first
        _shift(left, candidate.bytes, -1)
        if lacking(need, left):
            _shift(left, candidate.bytes, 1)
        else:
            kept.remove(candidate)
    return kept


def _shift(left: dict[Pool, int], by: Bytes, sign: int) -> None:
    for pool, n_bytes in by.items():
        left[pool] = left.get(pool, 0) + sign * n_bytes
