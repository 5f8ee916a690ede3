"""Text that a model writes: what is asked, the pieces as they come, and how it ended."""

from __future__ import annotations

from typing import Literal

import msgspec

Role = Literal["system", "user", "assistant"]
FinishReason = Literal["stop", "length", "cancelled"]


class TextPart(msgspec.Struct, frozen=True, tag="text"):
    """Words of a message."""

    text: str


class ImagePart(msgspec.Struct, frozen=True, tag="image"):
    """An image of a message: which of those that come with the task, from 0."""

    index: int


class PromptMessage(msgspec.Struct, frozen=True):
    """One turn of the conversation, its parts in the order in which the model reads them."""

    role: Role
    parts: tuple[TextPart | ImagePart, ...]


class Sampling(msgspec.Struct, frozen=True):
    """How the next token is chosen; None: as the model's maker says.

    temperature: 0 takes the likeliest token always. top_k: so many of the likeliest tokens are in question,
    0 for all. seed: makes chance repeat. stop: texts that end the answer, which does not hold them.
    """

    max_tokens: int = 1024
    temperature: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    top_p: float | None = None
    repetition_penalty: float | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()


class GenerateTask(msgspec.Struct, frozen=True):
    """A conversation that the model is to continue, and so is its last message if that is the assistant's."""

    messages: tuple[PromptMessage, ...]
    sampling: Sampling = Sampling()


class Finish(msgspec.Struct, frozen=True):
    """How a generation ended.

    n_prompt_tokens: with those that stand for images. n_output_tokens: all that were computed, with one that
    ends the text. n_tiles: pieces that the images were cut into, overviews included; 0 if that is not known.
    prompt_ns: until the first token; output_ns: from then on. stopped_by: the stop text that ended it, None
    if the model ended it itself.
    """

    reason: FinishReason
    n_prompt_tokens: int
    n_output_tokens: int
    n_tiles: int = 0
    prompt_ns: int = 0
    output_ns: int = 0
    stopped_by: str | None = None


class VisionRequest(msgspec.Struct, frozen=True):
    """A question about a page image, or about page `page` of a document, from 0."""

    model: str  # a name of the catalogue
    payload: bytes  # the file as it came
    prompt: str
    page: int = 0
    sampling: Sampling = Sampling()
    keep_alive_s: float | None = None  # None: as said last, at first the default; inf: for ever


class VisionResult(msgspec.Struct, frozen=True):
    """What is known at the end of an answer; its text came before, in pieces."""

    model: str  # catalogue name of the model that was used
    finish: Finish
    format: str  # of the file, by its first bytes
    width_px: int  # of the upright image or page, before it was scaled
    height_px: int
    n_pages: int
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


VisionEvent = str | VisionResult
