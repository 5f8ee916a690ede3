"""`turbov2 transcribe`: speech as text or subtitles, by a running server."""

from __future__ import annotations

from collections.abc import Sequence
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

_PATH = "/api/transcribe"


class Format(StrEnum):
    """What a transcript is written as."""

    txt = "txt"
    srt = "srt"
    vtt = "vtt"
    json = "json"


class _Word(msgspec.Struct, rename={"text": "word", "start_s": "start", "end_s": "end"}):
    text: str
    start_s: float
    end_s: float


class _Segment(msgspec.Struct, rename={"start_s": "start", "end_s": "end"}):
    text: str
    start_s: float
    end_s: float
    words: list[_Word] | None = None


class _Line(msgspec.Struct):
    """What is looked at in a line of the stream."""

    event: str
    segment: _Segment | None = None
    done_s: float = 0.0
    duration_s: float | None = None
    error: str = ""


def transcribe(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE", help="Audio, or video with sound.", show_default=False)
    ],
    as_format: Annotated[Format, typer.Option("--format", "-f", help="What to write.")] = Format.txt,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="DIR", help="Write a file for each FILE in there.")
    ] = None,
    model: Annotated[
        str, typer.Option("--model", "-m", metavar="NAME", help="Which model hears it; the server's default.")
    ] = "",
    language: Annotated[
        str, typer.Option("--language", "-l", metavar="CODE", help="Such as en; detected by default.")
    ] = "",
    translate: Annotated[bool, typer.Option("--translate", help="Write it in English.")] = False,
    vad: Annotated[bool, typer.Option("--vad", help="Leave silence out before the model hears it.")] = False,
    url: Annotated[str | None, typer.Option(metavar="URL", help=URL_HELP)] = None,
) -> None:
    """Write down what is said in audio files, with a running server."""
    from turbov2.settings import load_settings

    targets = targets_of(files, f".{as_format}", out)
    settings = load_settings()
    fields = {"model": model, "language": language, "task": "translate" if translate else ""}
    flags = {"vad_filter": vad, "word_timestamps": as_format in (Format.srt, Format.vtt), "stream": True}
    given = {name: value for name, value in fields.items() if value}
    given |= {name: "true" for name, value in flags.items() if value}
    n_failed = 0
    for file, target in targets:  # one failure does not stop the others
        try:
            lines = _heard(settings, url, file, given)
        except (CliError, OSError) as error:
            tell(error)
            n_failed += 1
            continue
        is_one = len(files) == 1 or as_format is Format.json
        write_text(file, target, _rendered(file, lines, as_format), is_one=is_one)
    if n_failed:
        raise typer.Exit(FAILED)


def _heard(settings: Settings, url: str | None, file: Path, fields: dict[str, str]) -> list[bytes]:
    """Returns the lines of segments and the last one, as they came. Raises: CliError, OSError."""
    from turbov2.cli._client import stream
    from turbov2.cli._progress import CountDisplay

    lines: list[bytes] = []
    answer = stream(settings, url, _PATH, file, fields, settings.load_timeout_s)
    with CountDisplay(f"transcribing {file.name}", "seconds") as display:
        for line in answer:
            said = _parsed(line)
            if said.event == "error":
                raise CliError(f"{file}: stopped after {len(lines)} segments: {said.error}")
            if said.event == "progress" and said.duration_s is not None:
                display.step(round(said.done_s), round(said.duration_s))
            if said.event in ("segment", "done"):
                lines.append(line)
            if said.event == "done":
                return lines
    raise CliError(f"{file}: the answer ended after {len(lines)} segments")


def _parsed(line: bytes) -> _Line:
    try:
        return msgspec.json.decode(line, type=_Line)
    except msgspec.MsgspecError as error:
        raise CliError("what answers does not speak as a TurboV2 server") from error


def _rendered(file: Path, lines: Sequence[bytes], as_format: Format) -> str:
    """Returns what is written of a file."""
    *segments, end = lines
    if as_format is Format.json:
        whole: dict[str, Any] = msgspec.json.decode(end)
        del whole["event"]
        told = [msgspec.json.decode(line)["segment"] for line in segments]
        return msgspec.json.encode({"file": file.name, **whole, "segments": told}).decode() + "\n"
    said = [segment for line in segments if (segment := _parsed(line).segment) is not None]
    if as_format is Format.txt:
        return "".join(f"{segment.text}\n" for segment in said)
    from turbov2.speech.subtitles import CueStyle, cues_of, srt_of, vtt_of

    write = srt_of if as_format is Format.srt else vtt_of
    return "".join(write(cues_of(said, CueStyle())))
