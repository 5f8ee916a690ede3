"""`turbov2 ps`: what a running server holds in memory."""

from __future__ import annotations

import datetime as dt
from typing import Annotated

import msgspec
import typer

_FOR_EVER = dt.timedelta(days=3650)  # the server writes "no end" as a date beyond any plan
URL_HELP = "Server to ask."
_DEFAULT = r"[dim]\[default: this machine, at PORT][/]"


class Resident(msgspec.Struct):
    """One loaded model, as GET /api/ps tells it."""

    name: str
    size: int = 0
    state: str = "-"
    leases: int = 0
    expires_at: dt.datetime | None = None


class Residents(msgspec.Struct):
    """The answer to GET /api/ps."""

    models: list[Resident]


def ps(
    url: Annotated[str | None, typer.Option(metavar="URL", help=f"{URL_HELP}  {_DEFAULT}")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """List the models that a running server has loaded.

    The first key of EMBEDDINGS_API_KEY is sent along.
    """
    from turbov2.cli._client import ask
    from turbov2.cli._console import make_table, print_json, print_note, print_table, size_text
    from turbov2.settings import load_settings

    loaded = ask(load_settings(), url, "/api/ps", Residents)
    if as_json:
        print_json(loaded)
        return
    if not loaded.models:
        print_note("nothing is loaded")
        return
    now = dt.datetime.now(dt.UTC)
    table = make_table("NAME", "STATE", "SIZE", "IN USE", "UNTIL")
    for model in loaded.models:
        name, in_use = model.name.removesuffix(":latest"), str(model.leases or "-")
        table.add_row(name, model.state, size_text(model.size), in_use, until_text(model.expires_at, now))
    print_table(table)


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
