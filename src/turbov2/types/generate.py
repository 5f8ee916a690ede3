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


class ImageSource(msgspec.Struct, frozen=True):
    """An image of a conversation: a file as it came, and page `page` of it, from 0; None: all its pages.

    name: what the request calls it, for errors; empty: they name nothing.
    """

    payload: bytes
    page: int | None = 0
    name: str = ""


class ChatRequest(msgspec.Struct, frozen=True):
    """A conversation to go on with. Its `ImagePart`s count in `images`, each of which is shown once."""

    model: str  # a name of the catalogue
    messages: tuple[PromptMessage, ...]
    images: tuple[ImageSource, ...] = ()
    sampling: Sampling = Sampling()
    keep_alive_s: float | None = None  # None: as said last, at first the default; inf: for ever


class ImageFacts(msgspec.Struct, frozen=True):
    """What an image or page turned out to be."""

    format: str  # of the file, by its first bytes
    width_px: int  # of the upright image or page, before it was scaled
    height_px: int
    n_pages: int


class ChatResult(msgspec.Struct, frozen=True):
    """What is known at the end of an answer; its text came before, in pieces."""

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


ChatEvent = str | ChatResult
