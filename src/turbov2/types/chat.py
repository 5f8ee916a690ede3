"""A conversation as it is asked for, and the answer's events."""

from __future__ import annotations

import msgspec

from turbov2.types.generate import Finish, PromptCounted, PromptMessage, Sampling, ToolCallPart, Written
from turbov2.types.tools import Tool, ToolChoice


class ImageSource(msgspec.Struct, frozen=True):
    """An image of a conversation: a file as it came, and page `page` of it, from 0; None: all its pages.

    name: what the request calls it, for errors; empty: they name nothing.
    """

    payload: bytes
    page: int | None = 0
    name: str = ""


class ChatRequest(msgspec.Struct, frozen=True):
    """A conversation to go on with. Its `ImagePart`s count in `images`, each of which is shown once.

    tools, choice, schema, thinks, is_raw: as GenerateTask says.
    """

    model: str  # a name of the catalogue
    messages: tuple[PromptMessage, ...]
    images: tuple[ImageSource, ...] = ()
    sampling: Sampling = Sampling()
    keep_alive_s: float | None = None  # None: as said last, at first the default; inf: for ever
    tools: tuple[Tool, ...] = ()
    choice: ToolChoice = ToolChoice()
    schema: str | None = None
    thinks: bool | None = None
    is_raw: bool = False


class ImageFacts(msgspec.Struct, frozen=True):
    """What an image or page turned out to be."""

    format: str  # of the file, by its first bytes
    width_px: int  # of the upright image or page, before it was scaled
    height_px: int
    n_pages: int


class TextDelta(msgspec.Struct, frozen=True):
    """The next words of the answer."""

    text: str


class ThinkingDelta(msgspec.Struct, frozen=True):
    """The next words of what the model thinks."""

    text: str


class CallBegun(msgspec.Struct, frozen=True):
    """The model calls a tool. What follows is this call's until anything but a CallDelta comes."""

    id: str
    name: str


class CallDelta(msgspec.Struct, frozen=True):
    """The next piece of the call's arguments; all of them together are a JSON object."""

    arguments: str


class ChatResult(msgspec.Struct, frozen=True):
    """What is known at the end of an answer, which came before, in pieces.

    finish: its reason is "tool_calls" if the model called a tool and ended its answer by itself.
    """

    model: str  # catalogue name of the model that was used
    finish: Finish
    images: tuple[ImageFacts, ...]  # in the order of the conversation's, page by page
    load_ns: int
    total_ns: int
    decode_ns: int = 0
    queue_ns: int = 0
    inference_ns: int = 0
    tokenize_ns: int = 0  # part of inference_ns

    @property
    def n_tokens(self) -> int:
        """Tokens that the model read."""
        return self.finish.n_prompt_tokens


AnswerDelta = TextDelta | ThinkingDelta | CallBegun | CallDelta
# What a runner tells of an answer: text as the model wrote it, or what another server made of such text.
Piece = Written | TextDelta | ThinkingDelta | ToolCallPart
# What is told of an answer before its end; the prompt's length may come again, and may not come at all.
ChatNews = PromptCounted | AnswerDelta
ChatEvent = ChatNews | ChatResult
