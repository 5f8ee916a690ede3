"""Loading: how large it is, then room for it, then the load itself, then what it really takes."""

from __future__ import annotations

import asyncio
import logging
from typing import Generic

from turbov2.errors import LoadFailed, OutOfMemory, TurboError
from turbov2.residency.footprints import Footprints
from turbov2.residency.room import Line
from turbov2.residency.states import H, Models, Resident
from turbov2.residency.table import Table, with_unseen
from turbov2.residency.unloading import Unloads

logger = logging.getLogger(__name__)


class Loads(Generic[H]):
    """Does the slow work of one load after the other step; a load is a task that runs `run`."""

    def __init__(
        self,
        models: Models[H],
        table: Table[H],
        line: Line[H],
        unloads: Unloads[H],
        footprints: Footprints,
    ) -> None:
        self._models = models
        self._table = table
        self._line = line
        self._unloads = unloads
        self._footprints = footprints

    async def run(self, resident: Resident[H]) -> H:
        """Returns the loaded model, measured.

        Raises: TurboError; CancelledError when nobody waits for it any more.
        """
        spec, clock = resident.spec, asyncio.get_running_loop().time
        try:
            estimate = await self._models.size(spec)
            need = self._footprints.need(resident.key, estimate)
            resident.need = {pool: n_bytes for pool, n_bytes in need.items() if n_bytes > 0}
            self._require_wanted(resident)
            await self._line.wait(resident)
            self._require_wanted(resident)
            resident.started_s = clock()
            held = await self._load(resident)
        except TurboError:
            raise
        except Exception as error:
            logger.exception("loading model %s failed in a way that has no name. This is a bug.", spec.name)
            raise LoadFailed(f"model '{spec.name}' did not load; the server's log says why") from error
        resident.load_s = clock() - resident.started_s
        try:
            measured = await held.measure()
        except BaseException:  # cancelled: nobody else knows of it yet
            await held.close(0)
            raise
        resident.bytes = with_unseen(resident, measured)
        return held

    async def _load(self, resident: Resident[H]) -> H:
        """Loads; when memory runs out, once more after all idle neighbours have gone, if there are any."""
        spec = resident.spec
        try:
            return await self._models.load(spec)
        except OutOfMemory as error:
            logger.warning("memory ran out while model %s loaded: %s", spec.name, error)
            reason = f"memory ran out while {spec.name} loaded"
            if not await self._unloads.clear(resident.need.keys(), reason):
                raise
        return await self._models.load(spec)

    def _require_wanted(self, resident: Resident[H]) -> None:
        """Raises: CancelledError when all who waited have left; whoever comes then starts another load."""
        if not resident.is_wanted():
            self._table.forget(resident)
            raise asyncio.CancelledError
