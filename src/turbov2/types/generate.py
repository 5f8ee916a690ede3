"""Text that a model is told to write: the conversation, how to choose its words, and how it ended."""

from __future__ import annotations

from typing import Literal

import msgspec

from turbov2.types.tools import Tool, ToolChoice

Role = Literal["system", "user", "assistant", "tool"]
FinishReason = Literal["stop", "length", "cancelled", "tool_calls"]


class TextPart(msgspec.Struct, frozen=True, tag="text"):
    """Words of a message."""

    text: str


class ImagePart(msgspec.Struct, frozen=True, tag="image"):
    """An image of a message: which of those that come with the task, from 0."""

    index: int


class ThinkingPart(msgspec.Struct, frozen=True, tag="thinking"):
    """What the assistant thought before it spoke. Templates leave out what they do not want."""

    text: str


class ToolCallPart(msgspec.Struct, frozen=True, tag="tool_call"):
    """A tool that the assistant called. arguments: a JSON object as text."""

    id: str
    name: str
    arguments: str


Part = TextPart | ImagePart | ThinkingPart | ToolCallPart


class PromptMessage(msgspec.Struct, frozen=True):
    """One turn of the conversation, its parts in the order in which the model reads them.

    Of role "tool", the parts are what a call came to; call_id, name: of that call and of its tool.
    """

    role: Role
    parts: tuple[Part, ...]
    call_id: str = ""
    name: str = ""


class Sampling(msgspec.Struct, frozen=True):
    """How the next token is chosen; None: as the model's maker says.

    temperature: 0 takes the likeliest token always. top_k: so many of the likeliest tokens are in question,
    0 for all. repetition_penalty: divides what speaks for a token that the prompt or the answer holds.
    presence_penalty, frequency_penalty: taken off what speaks for a token of the answer, once, and once for
    each time it holds it. seed: makes chance repeat. stop: texts that end the answer, which does not hold
    them; those that are in thoughts or in calls count.
    """

    max_tokens: int = 1024
    temperature: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    top_p: float | None = None
    repetition_penalty: float | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()
    presence_penalty: float | None = None
    frequency_penalty: float | None = None


class GenerateTask(msgspec.Struct, frozen=True):
    """A conversation that the model is to continue, and so is its last message if that is the assistant's.

    schema: a JSON schema, as text, that the answer has to match once its thoughts are done; "{}": any JSON
    object. thinks: whether it thinks first; None: as the template does by itself. is_raw: there is one
    message of one text, read as it is, without the model's template.
    """

    messages: tuple[PromptMessage, ...]
    sampling: Sampling = Sampling()
    tools: tuple[Tool, ...] = ()
    choice: ToolChoice = ToolChoice()
    schema: str | None = None
    thinks: bool | None = None
    is_raw: bool = False


class PromptCounted(msgspec.Struct, frozen=True):
    """How long the prompt is, told once, before the answer's text.

    n_prompt_tokens, n_cached_tokens: as of Finish.
    """

    n_prompt_tokens: int
    n_cached_tokens: int = 0


# What a backend tells of an answer before its end.
Written = PromptCounted | str


class Finish(msgspec.Struct, frozen=True):
    """How a generation ended.

    reason: a model that writes says all but "tool_calls", which is known once its text is understood.
    n_prompt_tokens: with those that stand for images. n_output_tokens: all that were computed, with one that
    ends the text. n_tiles: pieces that the images were cut into, overviews included; 0 if that is not known.
    prompt_ns: until the first token; output_ns: from then on. stopped_by: the stop text that ended it, None
    if the model ended it itself. n_cached_tokens: those of the prompt that were not computed again.
    """

    reason: FinishReason
    n_prompt_tokens: int
    n_output_tokens: int
    n_tiles: int = 0
    prompt_ns: int = 0
    output_ns: int = 0
    stopped_by: str | None = None
    n_cached_tokens: int = 0
