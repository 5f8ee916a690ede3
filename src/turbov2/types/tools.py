"""Tools that a model may call, and how it writes that it does."""

from __future__ import annotations

from typing import Literal

import msgspec


class Tool(msgspec.Struct, frozen=True):
    """A tool. parameters: the JSON schema of its arguments, as text."""

    name: str
    description: str
    parameters: str


class ToolChoice(msgspec.Struct, frozen=True):
    """Whether the model calls a tool: as it sees fit, not at all, or it has to.

    name: of the one that it has to call; empty: any. is_parallel: it may call several in one answer, which
    no API means that names one.
    """

    kind: Literal["auto", "none", "required"] = "auto"
    name: str = ""
    is_parallel: bool = True


class Tags(msgspec.Struct, frozen=True):
    """What stands before and behind a part of an answer. end empty: it lasts as long as its JSON does."""

    begin: str
    end: str


class ReplyFormat(msgspec.Struct, frozen=True):
    """How a model marks what it thinks and calls, as its template says, in the text it writes.

    thinking: None for a model that does not think. calls: each way in which it marks calls; inside stand
    JSON, Python's calls or XML. has_tools: the template tells the model about tools.
    """

    thinking: Tags | None = None
    calls: tuple[Tags, ...] = ()
    has_tools: bool = False
