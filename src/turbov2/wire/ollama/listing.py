"""Ollama's views of models: tags, ps, show."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any

import msgspec

from turbov2.types import MemoryEvent, ModelStatus, PoolStatus, ResidentStatus

# Models that were never fetched have no date; a fixed one keeps listings stable.
_NO_DATE = dt.datetime(2025, 1, 1, tzinfo=dt.UTC)
_FOR_EVER = dt.timedelta(days=36_500)
_CAPABILITIES = {"embed": ("embedding",), "generate": ("completion",), "vision": ("completion", "vision")}


def render_tags(models: Sequence[ModelStatus]) -> bytes:
    """Returns the body of GET /api/tags. `availability`, `reason` and `fix` are ours."""
    return msgspec.json.encode({"models": [_entry(model) | _standing(model) for model in models]})


def render_ps(
    residents: Sequence[ResidentStatus], pools: Sequence[PoolStatus], events: Sequence[MemoryEvent]
) -> bytes:
    """Returns the body of GET /api/ps, latest expiry first. `pools` and `events` are ours."""
    for_ever = dt.datetime.now(dt.UTC) + _FOR_EVER  # the same for all, or their order would be chance
    models = [_resident(resident, for_ever) for resident in residents]
    body = {"models": models, "pools": pools, "events": events}
    return msgspec.json.encode(body)


def render_show(model: ModelStatus) -> bytes:
    """Returns the body of POST /api/show. `model_info` is always an object: clients crash without it."""
    return msgspec.json.encode(
        {
            "license": model.licence,
            "modelfile": f"FROM {model.source}",
            "parameters": "",
            "template": "",
            "details": _details(model),
            "model_info": _model_info(model),
            "capabilities": _capabilities(model),
            "modified_at": model.modified_at or _NO_DATE,
            "summary": model.summary,
            "aliases": model.aliases,
            "revision": model.revision,
            "pooling": model.pooling,
            "query_prompt": model.query_prompt,
            "document_prompt": model.document_prompt,
        }
        | _standing(model)
    )


def _entry(model: ModelStatus) -> dict[str, Any]:
    return {
        "name": f"{model.name}:latest",
        "model": f"{model.name}:latest",
        "modified_at": model.modified_at or _NO_DATE,
        "size": model.size_bytes,
        "digest": model.digest,
        "details": _details(model),
        "capabilities": _capabilities(model),
    }


def _capabilities(model: ModelStatus) -> list[str]:
    return [*_CAPABILITIES.get(model.capability, (model.capability,)), *model.abilities]


def _standing(model: ModelStatus) -> dict[str, Any]:
    return {"availability": model.availability, "reason": model.reason, "fix": model.fix}


def _details(model: ModelStatus) -> dict[str, Any]:
    return {
        "parent_model": "",
        "format": model.backend,
        "family": model.backend,
        "families": [model.backend],
        "parameter_size": _short_count(model.n_parameters),
        "quantization_level": (model.dtype or "").upper(),
    }


def _model_info(model: ModelStatus) -> dict[str, Any]:
    family = model.backend
    info = {
        "general.architecture": family,
        "general.parameter_count": model.n_parameters,
        f"{family}.embedding_length": model.dimensions,
        f"{family}.context_length": model.max_tokens,
        f"{family}.pooling": model.pooling,
    }
    return {key: value for key, value in info.items() if value is not None}


def _resident(resident: ResidentStatus, for_ever: dt.datetime) -> dict[str, Any]:
    return {
        **_entry(resident.model),
        "size": resident.host_bytes + resident.device_bytes,
        "size_vram": resident.device_bytes,
        "expires_at": resident.expires_at or for_ever,
        "context_length": resident.model.max_tokens or 0,
        "state": resident.state,
        "leases": resident.leases,
        "load_seconds": round(resident.load_s, 3),
        "bytes": resident.bytes,
        "estimated_bytes": resident.estimated_bytes,
        "last_used_at": resident.last_used_at,
        "uses": resident.n_uses,
        "pinned": resident.is_pinned,
        "priority": resident.priority,
        "queued_items": resident.queued_items,
        "failure": resident.failure,
        "retry_in_seconds": resident.retry_in_s,
        "shared_by": resident.shared_by,
    }


def _short_count(count: int | None) -> str:
    if count is None:
        return ""
    return f"{count / 1e9:.1f}B" if count >= 1e9 else f"{count / 1e6:.1f}M"
