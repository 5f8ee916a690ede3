"""`turbov2 embed`: texts → vectors, in this process or by a running server."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from turbov2.cli._boundary import MISUSED, CliError
from turbov2.cli.ps import URL_HELP

if TYPE_CHECKING:
    from turbov2.catalog import Catalog
    from turbov2.settings import Settings
    from turbov2.types import EmbedResult
    from turbov2.types.embed import FloatMatrix

_DEFAULT_MODEL = r"[dim]\[env: TURBOV2_DEFAULT_EMBED_MODEL][/]"
_DEFAULT_URL = r"[dim]\[default: none, embed in this process][/]"
_N_SHOWN = 4  # values of each vector that people see
_MAX_TEXT = 40  # characters of each text that people see


class Vectors(msgspec.Struct):
    """The answer to POST /api/embed."""

    model: str
    embeddings: list[list[float]]


def embed(
    texts: Annotated[
        list[str] | None,
        typer.Argument(metavar="TEXT", help="Texts; none or - reads lines from stdin.", show_default=False),
    ] = None,
    model: Annotated[
        str | None, typer.Option("--model", "-m", metavar="NAME", help=f"Name or alias.  {_DEFAULT_MODEL}")
    ] = None,
    dimensions: Annotated[
        int | None, typer.Option("--dimensions", "-d", min=1, metavar="N", help="Keep the first N values.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print all values, as one JSON object.")] = False,
    url: Annotated[str | None, typer.Option(metavar="URL", help=f"{URL_HELP}  {_DEFAULT_URL}")] = None,
) -> None:
    """Turn texts into vectors. Needs no server."""
    from turbov2.cli._console import print_note
    from turbov2.settings import load_settings

    settings = load_settings()
    wanted = _read_texts(texts or ["-"])
    name, vectors = (
        _embed_there(settings, url, wanted, model, dimensions)
        if url
        else _embed_here(settings, wanted, model or settings.default_embed_model, dimensions)
    )
    if dimensions and vectors.shape[1] != dimensions:
        print_note(f"{name} has {vectors.shape[1]} dimensions, not {dimensions}")
    if as_json:
        _print_json(name, vectors)
    else:
        _print_lines(wanted, vectors)


def _read_texts(texts: Sequence[str]) -> list[str]:
    """Returns the texts, "-" replaced by the lines of stdin. Raises: CliError."""
    wanted: list[str] = []
    for text in texts:
        wanted += _read_lines() if text == "-" else [text]
    if not wanted:
        raise CliError("there is no text to embed", "turbov2 embed 'some text'", MISUSED)
    try:
        "".join(wanted).encode()
    except UnicodeEncodeError as error:  # bytes that the shell passed on
        raise CliError("a text is not valid UTF-8", exit_code=MISUSED) from error
    return wanted


def _read_lines() -> list[str]:
    from turbov2.cli._console import print_note

    if sys.stdin.isatty():
        print_note("reading one text a line; Ctrl-D ends")
    try:
        whole = sys.stdin.buffer.read().decode()
    except UnicodeDecodeError as error:
        raise CliError("stdin is not UTF-8 text", exit_code=MISUSED) from error
    lines = whole.split("\n")  # not splitlines: a text may hold other separators
    return [line.removesuffix("\r") for line in (lines[:-1] if lines[-1] == "" else lines)]


def _embed_here(
    settings: Settings, texts: list[str], model: str, dimensions: int | None
) -> tuple[str, FloatMatrix]:
    """Returns (model, vectors) from this process; absent weights are pulled in sight if that is allowed."""
    import asyncio

    from turbov2.cli._console import print_note
    from turbov2.cli._shelf import find, open_shelf
    from turbov2.cli.pull import fetch
    from turbov2.engine.shelf import is_pinned

    shelf = open_shelf(settings)
    spec = find(shelf.catalog, model)
    is_absent = shelf.status(spec).availability == "absent"
    if is_absent and spec.capability == "embed" and settings.auto_pull and is_pinned(spec):
        fetch(shelf, spec)
    result = asyncio.run(embed_once(shelf.catalog, settings, spec.name, texts, dimensions))
    for index in result.truncated:
        print_note(f"text {index + 1} is longer than {spec.name} reads; its end was left out")
    return result.model, result.vectors


async def embed_once(
    catalog: Catalog, settings: Settings, model: str, texts: Sequence[str], dimensions: int | None = None
) -> EmbedResult:
    """Returns the answer of an engine that lives for this one request. Raises: TurboError."""
    from turbov2.engine import LocalEngine
    from turbov2.types import Context, EmbedRequest

    engine = LocalEngine(catalog, settings)
    try:
        return await engine.embed(EmbedRequest(model, texts, dimensions=dimensions), Context("cli"))
    finally:
        await engine.stop()


def _embed_there(
    settings: Settings, url: str, texts: list[str], model: str | None, dimensions: int | None
) -> tuple[str, FloatMatrix]:
    """Returns (model, vectors) from the server. Raises: CliError."""
    import numpy as np

    from turbov2.cli._client import ask

    body = {"model": model, "input": texts, "dimensions": dimensions}
    given = {field: value for field, value in body.items() if value is not None}
    answer = ask(settings, url, "/api/embed", Vectors, given, settings.load_timeout_s)
    if len(answer.embeddings) != len(texts) or len(set(map(len, answer.embeddings))) != 1:
        raise CliError(f"the server at {url} did not answer with one vector a text")
    return answer.model, np.asarray(answer.embeddings, np.float32)


def _print_json(model: str, vectors: FloatMatrix) -> None:
    import orjson

    body = {"model": model, "embeddings": vectors}
    typer.echo(orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_APPEND_NEWLINE), nl=False)


def _print_lines(texts: Sequence[str], vectors: FloatMatrix) -> None:
    import numpy as np

    for text, vector in zip(texts, vectors, strict=True):
        values = " ".join(f"{value:+.4f}" for value in vector[:_N_SHOWN])
        norm = float(np.linalg.norm(vector))
        short = text if len(text) <= _MAX_TEXT else f"{text[: _MAX_TEXT - 3]}..."
        typer.echo(f"[{values} ...]  {len(vector)} dims  norm {norm:.4f}  {short}".rstrip())
