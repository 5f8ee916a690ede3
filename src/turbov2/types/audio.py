"""Speech: what is asked of a loaded model, one window at a time, and what it heard.

A stream is a sequence of samples, 16 kHz, mono. The model reads 30 s of it at once. Who asks keeps the stream
and how far it was read; the model keeps nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Samples = NDArray[np.int16]

SpeechGoal = Literal["transcribe", "translate"]
# What speaks against a segment: its window's text repeats itself, or is unlikely; the model took the window
# for silence; no voice was detected there; the segments before it have the same text.
Doubt = Literal["repetitive", "unlikely", "no_speech", "no_voice", "repeated"]


class TranscribeOptions(msgspec.Struct, frozen=True):
    """How speech becomes text. Names and defaults are faster-whisper's.

    language: a code such as "en"; None: detected. task: "translate" writes English.
    initial_prompt: a text that might stand before the first words. hotwords: words that are likely.
    beam_size: of the first temperature, if that is 0. best_of: samples at any other.
    temperatures: tried in this order until the text passes the two thresholds of ratio and logprob.
    no_speech_threshold: from this probability on, a window whose logprob is poor too is left out.
    """

    language: str | None = None
    task: SpeechGoal = "transcribe"
    initial_prompt: str | None = None
    hotwords: str | None = None
    prefix: str | None = None
    beam_size: int = 5
    best_of: int = 5
    patience: float = 1.0
    length_penalty: float = 1.0
    repetition_penalty: float = 1.0
    no_repeat_ngram_size: int = 0
    temperatures: tuple[float, ...] = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
    compression_ratio_threshold: float | None = 2.4
    log_prob_threshold: float | None = -1.0
    no_speech_threshold: float | None = 0.6
    condition_on_previous_text: bool = True
    prompt_reset_on_temperature: float = 0.5
    suppress_blank: bool = True
    suppress_tokens: tuple[int, ...] = (-1,)  # -1: the signs that nobody speaks
    without_timestamps: bool = False
    max_initial_timestamp: float = 1.0
    word_timestamps: bool = False


class SpeechNeed(msgspec.Struct, frozen=True):
    """What a loaded model wants to hear: the mel bands of its spectrum, and the languages it knows."""

    n_mels: int
    languages: tuple[str, ...]


class VoiceOptions(msgspec.Struct, frozen=True):
    """What counts as speech. Names and defaults are Silero's, as faster-whisper has them.

    threshold: probability from which on it begins. neg_threshold: below it, it may end; None: threshold less
    0.15. min_silence_duration_ms: of an end. speech_pad_ms: what is kept on either side.
    """

    threshold: float = 0.5
    neg_threshold: float | None = None
    min_speech_duration_ms: int = 0
    max_speech_duration_s: float = float("inf")
    min_silence_duration_ms: int = 2000
    speech_pad_ms: int = 400


class WindowTask(msgspec.Struct, frozen=True, tag="window"):
    """The next window of a stream; its samples are those that `speech.windows.samples_of` names.

    start_frame: in steps of 10 ms. n_frames: how many the stream has from there on, as far as is known:
    3,001 or more, or all there are. peak: of the whole stream; see speech.mel.
    previous_tokens: what the window before gave; None: it is the first. last_speech_s: likewise.
    """

    start_frame: int
    n_frames: int
    peak: float
    options: TranscribeOptions = TranscribeOptions()
    previous_tokens: tuple[int, ...] | None = None
    last_speech_s: float = 0.0


class ChunkTask(msgspec.Struct, frozen=True, tag="chunk"):
    """A piece of at most 30 s that is read for itself, as faster-whisper's batched mode does.

    offset_s: where it begins. options: with the language; only their first temperature is tried.
    """

    offset_s: float
    options: TranscribeOptions
    last_speech_s: float = 0.0


class LanguageTask(msgspec.Struct, frozen=True, tag="language"):
    """Asks for the language of chunks, of which the first 30 s count; their samples follow one another."""

    n_samples: tuple[int, ...]


class VoiceTask(msgspec.Struct, frozen=True, tag="voice"):
    """Asks where somebody speaks. Its samples: the stream's next, a multiple of 512 unless it ends with them.

    state: what the piece before gave; empty: the first.
    """

    is_last: bool
    state: bytes = b""


SpeechTask = WindowTask | ChunkTask | LanguageTask | VoiceTask


class Word(msgspec.Struct, frozen=True):
    """A word with the space before it, if there is one, and its times in the stream."""

    text: str
    start_s: float
    end_s: float
    probability: float


class Segment(msgspec.Struct, frozen=True):
    """A few seconds of text.

    start_frame: of the window it was found in. temperature, avg_logprob, compression_ratio, no_speech_prob:
    of that window's text. words: None unless they were asked for. doubts: see speech.doubts.
    """

    start_frame: int
    start_s: float
    end_s: float
    text: str
    tokens: tuple[int, ...]
    temperature: float
    avg_logprob: float
    compression_ratio: float
    no_speech_prob: float
    words: tuple[Word, ...] | None = None
    doubts: tuple[Doubt, ...] = ()


class SpokenLanguage(msgspec.Struct, frozen=True, tag="spoken_language"):
    """The likeliest language, and all of them, the likeliest first; none where nothing was detected."""

    code: str
    probability: float
    probabilities: tuple[tuple[str, float], ...] = ()


class WindowResult(msgspec.Struct, frozen=True, tag="window_result"):
    """What was heard in a window, and what the next one's task takes over.

    next_frame: where the next window begins, at least `start_frame + n_frames` at the stream's end.
    language: that of the task, or what was detected.
    """

    segments: tuple[Segment, ...]
    next_frame: int
    previous_tokens: tuple[int, ...]
    last_speech_s: float
    language: SpokenLanguage


class ChunkResult(msgspec.Struct, frozen=True, tag="chunk_result"):
    """What was heard in a chunk. last_speech_s: for the next one, if words are asked for."""

    segments: tuple[Segment, ...]
    last_speech_s: float


class VoiceResult(msgspec.Struct, frozen=True, tag="voice_result"):
    """How likely somebody speaks in each 512 samples (32 ms), and the state for the next piece."""

    probabilities: tuple[float, ...]
    state: bytes


Heard = WindowResult | ChunkResult | SpokenLanguage | VoiceResult
