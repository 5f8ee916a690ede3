"""`turbov2 ps`: what a running server holds in memory."""

from __future__ import annotations

import datetime as dt
from typing import Annotated

import msgspec
import typer

from turbov2.types.memory import Bytes, MemoryEvent, PoolStatus

_FOR_EVER = dt.timedelta(days=3650)  # the server writes "no end" as a date beyond any plan
URL_HELP = "Server to ask."
URL_DEFAULT = r"[dim]\[default: this machine, at PORT][/]"
_EVENTS_SHOWN = 5


class Resident(msgspec.Struct):
    """One loaded model, as GET /api/ps tells it."""

    name: str
    size: int = 0
    state: str = "-"
    leases: int = 0
    expires_at: dt.datetime | None = None
    estimated_bytes: Bytes = {}
    last_used_at: dt.datetime | None = None
    pinned: bool = False
    queued_items: int = 0
    failure: str = ""
    shared_by: list[str] = []


class Residents(msgspec.Struct):
    """The answer to GET /api/ps. Other servers that speak it send models only."""

    models: list[Resident]
    pools: list[PoolStatus] = []
    events: list[MemoryEvent] = []


def ps(
    url: Annotated[str | None, typer.Option(metavar="URL", help=f"{URL_HELP}  {URL_DEFAULT}")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """List what a running server holds in memory, how full it is, and what lately came and went.

    The first key of EMBEDDINGS_API_KEY is sent along.
    """
    from turbov2.cli._client import ask
    from turbov2.cli._console import print_json, print_note
    from turbov2.settings import load_settings

    loaded = ask(load_settings(), url, "/api/ps", Residents)
    if as_json:
        print_json(loaded)
        return
    now = dt.datetime.now(dt.UTC)
    if loaded.models:
        _print_models(loaded.models, now)
    else:
        print_note("nothing is loaded")
    _print_memory(loaded)


def _print_models(models: list[Resident], now: dt.datetime) -> None:
    from turbov2.cli._console import make_table, print_table, size_text

    table = make_table("NAME", "STATE", "SIZE", "EXPECTED", "IN USE", "QUEUED", "USED", "UNTIL")
    for model in models:
        table.add_row(
            ", ".join([model.name.removesuffix(":latest"), *model.shared_by]),
            model.state,
            size_text(model.size),
            size_text(sum(model.estimated_bytes.values())),
            str(model.leases or "-"),
            str(model.queued_items or "-"),
            ago_text(model.last_used_at, now),
            "pinned" if model.pinned else until_text(model.expires_at, now),
        )
    print_table(table)


def _print_memory(loaded: Residents) -> None:
    """The user sees each pool's filling and the last events."""
    from turbov2.cli._console import make_grid, print_table, size_text

    grid = make_grid()
    for pool in loaded.pools:
        committed, budget = size_text(pool.committed_bytes), size_text(pool.budget_bytes)
        grid.add_row(
            pool.name,
            f"{committed} of {budget} for models; the machine has {size_text(pool.available_bytes)} free",
        )
    for event in loaded.events[-_EVENTS_SHOWN:]:
        at = event.at.astimezone().strftime("%H:%M:%S")
        grid.add_row(at, f"{event.model} {event.kind.replace('_', ' ')}: {event.reason}")
    print_table(grid)


def ago_text(at: dt.datetime | None, now: dt.datetime) -> str:
    """Returns "3 s ago", "2 min ago" or "-"."""
    if at is None:
        return "-"
    seconds = max(int((now - at).total_seconds()), 0)
    if seconds < 120:
        return f"{seconds} s ago"
    return f"{seconds // 60} min ago" if seconds < 7200 else f"{seconds // 3600} h ago"


def until_text(expires_at: dt.datetime | None, now: dt.datetime) -> str:
    """Returns "in 4 min", "for ever" or "-"."""
    if expires_at is None:
        return "-"
    left = expires_at - now
    if left > _FOR_EVER:
        return "for ever"
    seconds = max(int(left.total_seconds()), 0)
    if seconds < 120:
        return f"in {seconds} s"
    return f"in {seconds // 60} min" if seconds < 7200 else f"in {seconds // 3600} h"
