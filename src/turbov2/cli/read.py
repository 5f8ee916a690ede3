"""`turbov2 read`: documents and images as text, by a running server."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from turbov2.cli._boundary import FAILED, CliError, tell
from turbov2.cli._outputs import targets_of, write_text
from turbov2.cli.ps import URL_HELP

if TYPE_CHECKING:
    from turbov2.settings import Settings

_PATH = "/api/documents"


class Format(StrEnum):
    """What pages are written as."""

    text = "text"
    markdown = "markdown"
    json = "json"


_SUFFIXES = {Format.text: ".txt", Format.markdown: ".md", Format.json: ".json"}


class _PageError(msgspec.Struct):
    message: str


class _Page(msgspec.Struct):
    """What is shown of a page, or of the last line of a stream."""

    page: int = 0
    done: int = 0
    total: int = 0
    text: str = ""
    markdown: str = ""
    vision: str = ""
    error: _PageError | str | None = None
    status: str = ""


def read(
    files: Annotated[list[Path], typer.Argument(metavar="FILE", help="PDFs and images.", show_default=False)],
    pages: Annotated[str, typer.Option(metavar="RANGES", help="Such as 1-3,7 or 5-; all by default.")] = "",
    as_format: Annotated[Format, typer.Option("--format", "-f", help="What to write.")] = Format.text,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="DIR", help="Write a file for each FILE in there.")
    ] = None,
    password: Annotated[str, typer.Option(metavar="TEXT", help="Opens PDFs that are locked.")] = "",
    url: Annotated[str | None, typer.Option(metavar="URL", help=URL_HELP)] = None,
) -> None:
    """Read documents and images as text, with a running server."""
    from turbov2.settings import load_settings

    targets = targets_of(files, _SUFFIXES[as_format], out)
    settings = load_settings()
    fields = {"pages": pages, "password": password, "stream": "true"}
    given = {name: value for name, value in fields.items() if value}
    n_failed = 0
    for file, target in targets:  # one failure does not stop the others
        try:
            lines, n_bad = _read(settings, url, file, given)
        except (CliError, OSError) as error:
            tell(error)
            n_failed += 1
            continue
        write_text(
            file,
            target,
            _rendered(file, lines, as_format),
            is_one=len(files) == 1 or as_format is Format.json,
        )
        n_failed += n_bad > 0
    if n_failed:
        raise typer.Exit(FAILED)


def _read(settings: Settings, url: str | None, file: Path, fields: dict[str, str]) -> tuple[list[bytes], int]:
    """Returns the pages as they came, one a line, and how many of them failed. Raises: CliError, OSError."""
    from turbov2.cli._client import stream
    from turbov2.cli._console import print_note
    from turbov2.cli._progress import CountDisplay

    lines: list[bytes] = []
    n_bad = 0
    is_whole = False
    answer = stream(settings, url, _PATH, file, fields, settings.load_timeout_s)
    with CountDisplay(f"reading {file.name}", "pages") as display:
        for line in answer:
            page = _parsed(line)
            if isinstance(page.error, str):
                raise CliError(f"{file}: stopped after {len(lines)} pages: {page.error}")
            if page.status:
                is_whole = True
                continue
            lines.append(line)
            display.step(page.done, page.total)
            if page.error is not None:
                n_bad += 1
                print_note(f"{file}, page {page.page}: {page.error.message}")
    if not is_whole:
        raise CliError(f"{file}: the answer ended after {len(lines)} pages")
    return lines, n_bad


def _parsed(line: bytes) -> _Page:
    try:
        return msgspec.json.decode(line, type=_Page)
    except msgspec.MsgspecError as error:
        raise CliError("what answers does not speak as a TurboV2 server") from error


def _rendered(file: Path, lines: Iterable[bytes], as_format: Format) -> str:
    """Returns what is written of a file's pages."""
    if as_format is Format.json:
        pages: list[Any] = [msgspec.json.decode(line) for line in lines]
        return msgspec.json.encode({"file": file.name, "pages": pages}).decode() + "\n"
    texts = []
    for line in lines:
        page = _parsed(line)
        text = page.markdown if as_format is Format.markdown else page.text
        texts.append(f"{text}\n\n{page.vision}" if page.vision not in ("", page.text) else text)
    return "\n\n".join(text for text in texts if text) + "\n"
