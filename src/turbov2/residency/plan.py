"""What loading a model would take and whom it would cost, without doing anything."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Generic

from turbov2.catalog import ModelSpec
from turbov2.residency.events import Journal
from turbov2.residency.footprints import Footprints
from turbov2.residency.policy import Candidate, choose_victims
from turbov2.residency.pools import Bytes, lacking
from turbov2.residency.room import Line
from turbov2.residency.states import H, Resident, State
from turbov2.residency.table import Table
from turbov2.types import MemoryPlan, Obstacle, Victim


class Planner(Generic[H]):
    """Looks at a table and its line, and changes neither."""

    def __init__(self, table: Table[H], line: Line[H], footprints: Footprints, journal: Journal) -> None:
        self._table = table
        self._line = line
        self._footprints = footprints
        self._journal = journal

    def plan(self, key: str, spec: ModelSpec, estimate: Bytes) -> MemoryPlan:
        """Returns what a request for the model would find now."""
        now_s = asyncio.get_running_loop().time()
        resident = self._table.residents.get(key)
        need = self._footprints.need(key, estimate)
        machine = self._line.machine_bytes()
        free = self._line.free(self._line.promised(), machine).later
        victims = () if resident and resident.bytes else self._victims(need, free)
        failure = resident.failure if resident else self._line.refusal(spec.name, need, machine)
        rests = resident is not None and resident.state is State.FAILED
        retry_in_s = max(resident.retry_at_s - now_s, 0.0) if resident and rests else None
        wait_s = 0.0 if victims is None else self._make_room_s(victims) + (retry_in_s or 0.0)
        return MemoryPlan(
            model=spec.name,
            state=str(resident.state) if resident else "absent",
            need=need,
            need_source="measured" if self._footprints.is_measured(key) else "estimated",
            fits=victims is not None,
            victims=tuple(self._victim(victim, now_s) for victim in victims or ()),
            in_the_way=() if victims is not None else self._obstacles(need, free),
            ready_in_s=None if victims is None else self._ready_in_s(key, resident, wait_s, now_s),
            failed_reason=failure.message if failure else "",
            retry_in_s=retry_in_s,
            last_events=self._journal.of(key),
        )

    def _victims(self, need: Bytes, free: Bytes) -> tuple[Candidate, ...] | None:
        """Returns who would go; None when idle residents are not enough."""
        return choose_victims(need, free, self._table.candidates(self._footprints))

    def _victim(self, victim: Candidate, now_s: float) -> Victim:
        spec = self._table.residents[victim.key].spec
        idle_s = now_s - victim.last_used_s
        reason = f"{spec.priority} priority, idle for {idle_s:.0f} s, loads again in {victim.reload_s:.1f} s"
        return Victim(spec.name, victim.bytes, reason)

    def _obstacles(self, need: Bytes, free: Bytes) -> tuple[Obstacle, ...]:
        """Returns who holds bytes in the pools that lack some, and why each stays."""
        pools = lacking(need, free)
        holders = (r for r in self._table if any(r.bytes.get(pool) for pool in pools))
        return tuple(Obstacle(r.spec.name, why) for r in holders if (why := _why_it_stays(r)))

    def _make_room_s(self, victims: Sequence[Candidate]) -> float:
        """Returns how long the slowest victim's unload took in the past; they go at the same time."""
        footprints = (self._footprints.of(victim.key) for victim in victims)
        return max((footprint.unload_s for footprint in footprints if footprint), default=0.0)

    def _ready_in_s(
        self, key: str, resident: Resident[H] | None, wait_s: float, now_s: float
    ) -> float | None:
        if resident is not None and resident.is_usable():
            return 0.0
        footprint = self._footprints.of(key)
        if footprint is None:
            return None
        is_under_way = resident is not None and resident.state is State.LOADING
        begun_s = resident.started_s if resident and is_under_way and resident.started_s else now_s
        return wait_s + max(footprint.load_s - (now_s - begun_s), 0.0)


def _why_it_stays(resident: Resident[H]) -> str:
    """Returns why it does not go at once; empty when it does."""
    if resident.is_pinned:
        return "pinned"
    if resident.leases:
        return f"in use by {resident.leases} request{'s' if resident.leases > 1 else ''}"
    return "loading" if resident.state is State.LOADING else ""
