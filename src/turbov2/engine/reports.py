"""What the engine tells of its models: catalogue and residency in one view."""

from __future__ import annotations

import asyncio
import datetime as dt
import math
from collections.abc import Sequence

import msgspec

from turbov2.engine.checks import first_dimensions
from turbov2.engine.held import HeldModel
from turbov2.residency import Resident
from turbov2.types import Loaded, MemoryPlan, ModelStatus, ResidentStatus


def as_loaded(status: ModelStatus, loaded: Loaded | None) -> ModelStatus:
    """Returns the status with what the loaded files say in place of what the catalogue expects."""
    if loaded is None:
        return status
    return msgspec.structs.replace(
        status,
        availability="ready",
        dtype=loaded.dtype,
        dimensions=first_dimensions(status.dimensions if status.is_matryoshka else None, loaded.dimensions),
        max_tokens=loaded.max_tokens,
        pooling=loaded.pooling,
    )


def with_obstacle(plan: MemoryPlan, status: ModelStatus) -> MemoryPlan:
    """Returns the plan, corrected for a model that no memory could make run here."""
    if plan.state != "absent" or status.availability != "unavailable":
        return plan
    reason = f"{status.reason}; {status.fix}"
    return msgspec.structs.replace(plan, fits=False, ready_in_s=None, failed_reason=reason)


def resident_status(
    resident: Resident[HeldModel], model: ModelStatus, admitted_chars: int, names: Sequence[str]
) -> ResidentStatus:
    """Returns one line of the residency table for people and clients. `names`: all that share its weights."""
    now_s, now = asyncio.get_running_loop().time(), dt.datetime.now(dt.UTC)
    stays = math.isinf(resident.expires_s)
    held = resident.held
    return ResidentStatus(
        model=model,
        state=str(resident.state),
        leases=resident.leases,
        bytes=dict(resident.bytes),
        estimated_bytes=dict(resident.need),
        loaded_at=resident.loaded_at,
        last_used_at=now - dt.timedelta(seconds=now_s - resident.last_used_s),
        expires_at=None if stays else now + dt.timedelta(seconds=resident.expires_s - now_s),
        load_s=resident.load_s,
        n_uses=resident.n_uses,
        is_pinned=resident.is_pinned,
        priority=resident.spec.priority,
        queued_items=held.queue.n_queued_items if held is not None else 0,
        queued_tokens=held.queue.n_queued_tokens if held is not None else 0,
        admitted_chars=admitted_chars,
        pid=held.pid if held is not None else 0,
        failure=resident.failure.message if resident.failure is not None else "",
        retry_in_s=max(resident.retry_at_s - now_s, 0.0) if resident.failure is not None else None,
        shared_by=tuple(name for name in names if name != model.name),
    )
