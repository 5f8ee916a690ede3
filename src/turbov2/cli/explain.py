"""`turbov2 explain`: what loading a model would take, and why it came or went."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated
from urllib.parse import quote

import typer

from turbov2.cli.ps import URL_DEFAULT, URL_HELP
from turbov2.types.memory import Bytes, MemoryEvent, MemoryPlan

_EVENTS_SHOWN = 8


def explain(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Name or alias of a model.")],
    url: Annotated[str | None, typer.Option(metavar="URL", help=f"{URL_HELP}  {URL_DEFAULT}")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")] = False,
) -> None:
    """Explain a model's place in memory: what it needs, what would have to go, what happened to it.

    Asks a running server; loads nothing.
    """
    from turbov2.cli._client import ask
    from turbov2.cli._console import make_grid, print_json, print_table
    from turbov2.settings import load_settings

    plan = ask(load_settings(), url, f"/api/explain?model={quote(model)}", MemoryPlan)
    if as_json:
        print_json(plan)
        return
    grid = make_grid()
    for name, text in rows(plan):
        grid.add_row(name, text)
    print_table(grid)


def rows(plan: MemoryPlan) -> Iterator[tuple[str, str]]:
    """Yields (heading, sentence), the most important first."""
    yield "model", f"{plan.model} is {plan.state}"
    source = "measured at its last load" if plan.need_source == "measured" else "estimated"
    yield "needs", f"{bytes_text(plan.need)}  [dim]({source})[/]"
    if plan.failed_reason:
        retry = "" if plan.retry_in_s is None else f"; tried again in {plan.retry_in_s:.0f} s at the earliest"
        yield "failed", f"{plan.failed_reason}{retry}"
    if plan.state != "ready":
        yield "fits", _fit(plan)
    for victim in plan.victims:
        yield "would go", f"{victim.model}, {bytes_text(victim.bytes)}: {victim.reason}"
    for obstacle in plan.in_the_way:
        yield "in the way", f"{obstacle.model}: {obstacle.why}"
    yield "ready in", _ready(plan.ready_in_s)
    for event in plan.last_events[-_EVENTS_SHOWN:]:
        yield event.at.astimezone().strftime("%H:%M:%S"), _event(event)


def bytes_text(needs: Bytes) -> str:
    """Returns "120 MB host, 2.1 GB cuda:0"."""
    from turbov2.cli._console import size_text

    return ", ".join(f"{size_text(n)} {pool}" for pool, n in needs.items()) or "nothing"


def _fit(plan: MemoryPlan) -> str:
    if not plan.fits:
        return "not before what is in the way has been let go" if plan.in_the_way else "no"
    n = len(plan.victims)
    return f"once {n} idle model{'s have' if n > 1 else ' has'} gone" if n else "yes"


def _ready(seconds: float | None) -> str:
    if seconds is None:
        return "unknown: it was never loaded here"
    return "now" if seconds == 0 else f"about {seconds:.1f} s after it is asked for"


def _event(event: MemoryEvent) -> str:
    took = f" after {event.seconds:.2f} s" if event.seconds else ""
    return f"{event.kind.replace('_', ' ')}{took}: {event.reason}"
