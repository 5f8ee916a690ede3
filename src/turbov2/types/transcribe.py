"""Transcribing: what is asked of a file with speech, and what is told while it is read."""

from __future__ import annotations

import msgspec

from turbov2.types.audio import Segment, SpokenLanguage, TranscribeOptions, VoiceOptions


class TranscribeState(msgspec.Struct, frozen=True):
    """How far a file was read, and what the next step takes over from those before.

    position: the next window's first frame, of 10 ms; in batched mode the number of the next chunk. Both
    count what is left of the file once it was cut and silence left out.
    """

    position: int = 0
    previous_tokens: tuple[int, ...] | None = None
    last_speech_s: float = 0.0
    language: SpokenLanguage | None = None
    n_segments: int = 0
    recent_texts: tuple[str, ...] = ()  # of the last segments; repetition is told by them


class TranscribeRequest(msgspec.Struct, frozen=True):
    """What is wanted of a file; its bytes come beside it. `model`: a name or alias of the catalogue.

    voice: silence is left out before the model reads, by these rules; None: all is read.
    batch_size: chunks read for themselves, so many at a time; 0: window by window, each knowing the text
    before it.
    start_s, end_s: the part of the file that counts, as if it were all; end_s None: to the end.
    drops_made_up: segments that the model wrote though nobody spoke are left out.
    state: where to go on; the default begins.
    """

    model: str
    options: TranscribeOptions = TranscribeOptions()
    voice: VoiceOptions | None = None
    batch_size: int = 0
    start_s: float = 0.0
    end_s: float | None = None
    drops_made_up: bool = False
    keep_alive_s: float | None = None
    state: TranscribeState = TranscribeState()


class AudioFacts(msgspec.Struct, frozen=True):
    """What the file is. duration_s: None while only decoding to its end could tell."""

    format: str
    codec: str
    sample_rate_hz: int
    n_channels: int
    duration_s: float | None


class Utterance(Segment, frozen=True):
    """A segment of a whole transcript. id: from 0."""

    id: int = 0


class TranscribeStarted(msgspec.Struct, frozen=True):
    """The first event: the file can be read and the model is there. language: None until it is detected."""

    model: str
    language: SpokenLanguage | None
    audio: AudioFacts


class TranscribeStep(msgspec.Struct, frozen=True):
    """What one window or chunk gave. done_s: up to where the file is read. n_left: steps to come, about."""

    segments: tuple[Utterance, ...]
    done_s: float
    duration_s: float | None
    n_left: int
    state: TranscribeState


class TranscribeResult(msgspec.Struct, frozen=True):
    """The last event. duration_s: of the part that was asked for. spoken_s: of that, without silence.

    Times in ns are the request's share of wall clock. Sound has no tokens.
    """

    model: str
    task: str
    language: SpokenLanguage
    audio: AudioFacts
    duration_s: float
    spoken_s: float
    load_ns: int
    total_ns: int
    queue_ns: int
    inference_ns: int
    n_tokens: int = 0
    tokenize_ns: int = 0


TranscribeEvent = TranscribeStarted | TranscribeStep | TranscribeResult
