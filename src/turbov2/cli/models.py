"""`turbov2 models` and `turbov2 show`: what is catalogued and how it stands here. Needs no server."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

    from turbov2.types import ModelStatus

_COMMIT = re.compile(r"(?<=@[0-9a-f]{8})[0-9a-f]{32}$")
_STYLES = {"ready": "green", "installed": "green", "absent": "yellow", "unavailable": "red"}
_WIDE = 150  # columns from which one line holds a model; a pipe always has them


def models(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    is_runnable: Annotated[
        bool, typer.Option("--runnable", "-r", help="Leave out those that cannot run here.")
    ] = False,
) -> None:
    """List the models: what they are for, their size, source and state here, and why one cannot run."""
    from turbov2.cli._console import out, print_json
    from turbov2.cli._shelf import open_shelf
    from turbov2.settings import load_settings

    shelf = open_shelf(load_settings())
    known = [shelf.status(spec) for spec in shelf.catalog]
    shown = [model for model in known if model.availability != "unavailable" or not is_runnable]
    if as_json:
        print_json({"models": shown})
        return
    (_print_wide if out().width >= _WIDE else _print_narrow)(shown)


def show(
    name: Annotated[str, typer.Argument(help="Name or alias of the model.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")] = False,
) -> None:
    """Show everything known of one model."""
    from turbov2.cli._console import print_json, print_table
    from turbov2.cli._shelf import find, open_shelf
    from turbov2.settings import load_settings

    shelf = open_shelf(load_settings())
    model = shelf.status(find(shelf.catalog, name))
    if as_json:
        print_json(model)
    else:
        print_table(_sheet(model))


def _print_wide(shown: Sequence[ModelStatus]) -> None:
    """The models are on stdout, one line each."""
    from turbov2.cli._console import make_table, print_table, size_text

    table = make_table("NAME", "FOR", "SIZE", "STATE", "SOURCE", "ALIASES", "NOTE")
    table.columns[2].justify = "right"
    for model in shown:
        size, source = size_text(model.size_bytes), _short(model.source)
        aliases = ", ".join(model.aliases)
        table.add_row(model.name, model.capability, size, _state(model), source, aliases, _note(model))
    print_table(table)


def _print_narrow(shown: Sequence[ModelStatus]) -> None:
    """The models are on stdout, each with its source, aliases and note underneath."""
    from rich.console import Group
    from rich.padding import Padding
    from rich.text import Text

    from turbov2.cli._console import print_table, size_text

    width = max((len(model.name) for model in shown), default=0)
    lines: list[Text | Padding] = [Text(f"{'NAME':<{width}}  {'FOR':<10}  {'SIZE':>8}  STATE", "bold")]
    for model in shown:
        line = f"  {model.capability:<10}  {size_text(model.size_bytes):>8}  "
        lines.append(Text.assemble((f"{model.name:<{width}}", "cyan"), line, _state(model)))
        also = f", also {', '.join(model.aliases)}" if model.aliases else ""
        below = (_short(model.source) + also, _note(model))
        lines += [Padding(Text(text, "dim"), (0, 0, 0, 2)) for text in below if text]
    print_table(Group(*lines))


def _state(model: ModelStatus) -> Text:
    from rich.text import Text

    return Text(model.availability, _STYLES[model.availability])


def _note(model: ModelStatus) -> str:
    return f"{model.reason}: {model.fix}" if model.fix else model.reason


def _short(source: str) -> str:
    """Returns the source with its commit cut to eight digits; JSON and `show` have all forty."""
    return _COMMIT.sub("", source)


def _sheet(model: ModelStatus) -> Table:
    from rich.text import Text

    from turbov2.cli._console import make_grid, size_text

    grid = make_grid()
    rows = {
        "name": model.name,
        "aliases": ", ".join(model.aliases),
        "summary": model.summary,
        "for": model.capability,
        "state": model.availability,
        "why": model.reason,
        "fix": model.fix,
        "size": size_text(model.size_bytes),
        "source": model.source,
        "digest": model.digest if model.modified_at else "",
        "arrived": f"{model.modified_at:%Y-%m-%d %H:%M} UTC" if model.modified_at else "",
        "licence": model.licence,
        "backend": f"{model.backend} ({model.runner})",
        "parameters": f"{model.n_parameters:,}" if model.n_parameters else "",
        "dimensions": f"{model.dimensions or ''}{' or fewer' if model.is_matryoshka else ''}",
        "max tokens": str(model.max_tokens or ""),
        "pooling": (model.pooling or "") if model.capability == "embed" else "",
        "query prompt": repr(model.query_prompt) if model.query_prompt else "",
        "text prompt": repr(model.document_prompt) if model.document_prompt else "",
    }
    for label, value in rows.items():
        if value:
            grid.add_row(label, Text(value))
    return grid
