"""Live speech: what comes in while somebody speaks, and what is told of it meanwhile."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from turbov2.errors import TurboError
from turbov2.types.audio import SpokenLanguage, TranscribeOptions
from turbov2.types.transcribe import Utterance

if TYPE_CHECKING:
    from turbov2.types.audio import Samples


class TurnOptions(msgspec.Struct, frozen=True):
    """When somebody begins and ends to speak. Names and defaults are those of OpenAI's `server_vad`.

    threshold: probability of a voice from which on it begins. prefix_padding_ms: kept before that.
    silence_duration_ms: of an end; it is kept too.
    """

    threshold: float = 0.5
    prefix_padding_ms: int = 300
    silence_duration_ms: int = 500


class LiveRequest(msgspec.Struct, frozen=True):
    """What is wanted of speech that goes on. `model`: a name or alias of the catalogue.

    turns: where an utterance begins and ends; None: from one LiveCommit to the next.
    has_partials: whether the text of an utterance is told before its end.
    """

    model: str
    options: TranscribeOptions = TranscribeOptions()
    turns: TurnOptions | None = TurnOptions()
    has_partials: bool = True
    keep_alive_s: float | None = None


class LiveSound(msgspec.Struct, frozen=True, eq=False):
    """The next samples: int16, 16 kHz, mono."""

    samples: Samples


class LiveCommit(msgspec.Struct, frozen=True):
    """The running utterance ends here."""


class LiveClear(msgspec.Struct, frozen=True):
    """The running utterance is dropped, and so is all sound before this."""


class LiveUpdate(msgspec.Struct, frozen=True):
    """From here on this is wanted, of the same model."""

    request: LiveRequest


LiveInput = LiveSound | LiveCommit | LiveClear | LiveUpdate


class LiveReady(msgspec.Struct, frozen=True):
    """The first event: the model is loaded."""

    model: str


class SpeechStarted(msgspec.Struct, frozen=True):
    """An utterance began. utterance: counted from 0. start_s: since the session's first sample."""

    utterance: int
    start_s: float


class SpeechStopped(msgspec.Struct, frozen=True):
    """It ended, and will be read. has_more: it was cut where it was quiet, and goes on as the next one."""

    utterance: int
    end_s: float
    has_more: bool = False


class PartialText(msgspec.Struct, frozen=True):
    """What the running utterance seems to say up to `end_s`; the next one revises it."""

    utterance: int
    start_s: float
    end_s: float
    text: str


class FinalText(msgspec.Struct, frozen=True):
    """What an utterance says, as `transcribe` gives it for the same samples; times are the session's."""

    utterance: int
    start_s: float
    end_s: float
    segments: tuple[Utterance, ...]
    language: SpokenLanguage


class UtteranceFailed(msgspec.Struct, frozen=True, eq=False):
    """An utterance could not be read; the session goes on."""

    utterance: int
    error: TurboError


class NothingSaid(msgspec.Struct, frozen=True):
    """A LiveCommit came, and no utterance was running."""


class Cleared(msgspec.Struct, frozen=True):
    """A LiveClear was heeded."""


class LiveResult(msgspec.Struct, frozen=True):
    """The last event. Times in ns are the session's share of wall clock. Sound has no tokens."""

    model: str
    duration_s: float
    n_utterances: int
    load_ns: int
    total_ns: int
    queue_ns: int
    inference_ns: int
    n_tokens: int = 0
    tokenize_ns: int = 0


LiveEvent = (
    LiveReady
    | SpeechStarted
    | SpeechStopped
    | PartialText
    | FinalText
    | UtteranceFailed
    | NothingSaid
    | Cleared
    | LiveResult
)
