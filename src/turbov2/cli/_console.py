"""What commands write with: people get colours that fit the terminal, pipes get whole plain lines."""

from __future__ import annotations

import shutil

import typer
from rich.console import Console, RenderableType
from rich.filesize import decimal
from rich.table import Table
from rich.text import Text

_UNBOUNDED = 10_000  # columns of a pipe, unless COLUMNS says otherwise: nothing is wrapped there


def out() -> Console:
    """Returns the console of results."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = shutil.get_terminal_size((_UNBOUNDED, 24)).columns
    return console


def err() -> Console:
    """Returns the console of notes, progress and errors."""
    return Console(stderr=True, highlight=False)


def print_error(message: str, hint: str = "") -> None:
    """The user knows what went wrong and, if there is one, what mends it."""
    console = err()
    console.print(Text.assemble(("error: ", "bold red"), message), soft_wrap=True)
    if hint:
        console.print(Text.assemble(("hint:  ", "bold cyan"), hint), soft_wrap=True)


def print_note(message: str) -> None:
    """The user knows; it is on stderr, so results stay clean."""
    err().print(Text(message, "dim"), soft_wrap=True)


def print_table(rows: RenderableType, console: Console | None = None) -> None:
    """The table is on `console`, stdout by default, without the blanks that pad its last column."""
    console = console or out()
    with console.capture() as captured:
        console.print(rows)
    lines = captured.get().splitlines()
    console.file.write("".join(line.rstrip() + "\n" for line in lines))


def print_json(value: object) -> None:
    """The value is on stdout as indented JSON."""
    import msgspec

    typer.echo(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def make_table(*headers: str) -> Table:
    """Returns a table that folds what does not fit and never cuts."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for header in headers:
        table.add_column(header, overflow="fold")
    return table


def make_grid() -> Table:
    """Returns a two-column table of names and values."""
    grid = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
    grid.add_column(style="cyan", no_wrap=True)
    grid.add_column(overflow="fold")
    return grid


def size_text(n_bytes: int) -> str:
    """Returns "16.4 MB"; "-" for an unknown size."""
    return decimal(n_bytes) if n_bytes else "-"
