"""GET /v1/models in one body that OpenAI's and Anthropic's clients both read."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any

import msgspec

from turbov2.errors import InvalidRequest
from turbov2.types import ModelStatus

_NO_DATE = dt.datetime(2025, 1, 1, tzinfo=dt.UTC)
_MAX_LIMIT = 1000


def render_models(models: Sequence[ModelStatus], query: dict[str, str]) -> bytes:
    """Returns the list; `limit`, `after_id` and `before_id` apply only when given. Raises: InvalidRequest."""
    listed = [(name, model) for model in models for name in (model.name, *model.stands_in_for)]
    shown, has_more = _page(listed, query)
    return msgspec.json.encode(
        {
            "object": "list",
            "data": [model_object(model, name) for name, model in shown],
            # Anthropic's iterators stop on this; without it they would ask for ever.
            "has_more": has_more,
            "first_id": shown[0][0] if shown else None,
            "last_id": shown[-1][0] if shown else None,
        }
    )


def model_object(model: ModelStatus, name: str = "") -> dict[str, Any]:
    """Returns one model in the union of both shapes. `capability` and what follows are ours.

    name: of a model that is not here, for which this one answers; empty: its own.
    """
    created = model.modified_at or _NO_DATE
    return {
        "id": name or model.name,
        "object": "model",
        "created": int(created.timestamp()),
        "owned_by": "turbov2",
        "type": "model",
        "display_name": model.name if name in ("", model.name) else f"{name} ({model.name})",
        "created_at": created,
        "lifecycle": "active",
        "capability": model.capability,
        "availability": model.availability,
        "reason": model.reason,
        "fix": model.fix,
    }


def _page(
    models: Sequence[tuple[str, ModelStatus]], query: dict[str, str]
) -> tuple[Sequence[tuple[str, ModelStatus]], bool]:
    names = [name for name, _ in models]
    start, stop = 0, len(models)
    if query.get("after_id") in names:
        start = names.index(query["after_id"]) + 1
    if query.get("before_id") in names:
        stop = names.index(query["before_id"])
    if "limit" not in query:
        return models[start:stop], False
    limit = _limit(query["limit"])
    if "before_id" in query:  # the page that ends just before it
        first = max(start, stop - limit)
        return models[first:stop], first > start
    return models[start : min(stop, start + limit)], start + limit < stop


def _limit(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or not 1 <= int(text[:9]) <= _MAX_LIMIT:
        raise InvalidRequest(f"limit is '{text[:20]}', expected 1 to {_MAX_LIMIT}", param="limit")
    return int(text)
