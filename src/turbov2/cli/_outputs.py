"""Where a command that turns files into text writes it: on stdout, or a file for each in a folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import typer

from turbov2.cli._boundary import MISUSED, CliError


def targets_of(files: Sequence[Path], suffix: str, out: Path | None) -> list[tuple[Path, Path | None]]:
    """Returns each file with the one to write, None for stdout. Raises: CliError, OSError."""
    if out is None:
        return [(file, None) for file in files]
    targets = [(file, out / (file.stem + suffix)) for file in files]
    names = [target.name for _, target in targets]
    for name in names:
        if names.count(name) > 1:
            raise CliError(
                f"several files would be written as {name}; read them one by one", exit_code=MISUSED
            )
    out.mkdir(parents=True, exist_ok=True)
    return targets  # type: ignore[return-value]


def write_text(file: Path, target: Path | None, text: str, *, is_one: bool) -> None:
    """The text is in the target, or on stdout with the file's name above it if there are several."""
    if target is not None:
        target.write_text(text, encoding="utf-8")
    else:
        typer.echo(text if is_one else f"==> {file} <==\n{text}", nl=False)
