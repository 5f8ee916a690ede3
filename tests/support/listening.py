"""The same speech read window by window, and whole by the library itself, in the same form."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from turbov2.backends.protocol import Listener
from turbov2.speech import mel
from turbov2.speech.collected import ChunkMaker, Collected
from turbov2.speech.voices import VOICE_SAMPLES, Span, SpeechFinder
from turbov2.speech.windows import Position, next_window, samples_of
from turbov2.types import (
    ChunkResult,
    ChunkTask,
    LanguageTask,
    Segment,
    SpokenLanguage,
    TranscribeOptions,
    VoiceOptions,
    VoiceResult,
    VoiceTask,
    WindowResult,
    Word,
)

Samples = NDArray[np.int16]
MAX_CHUNK_SAMPLES = 30 * mel.SAMPLE_RATE_HZ
CHUNK_VOICES = VoiceOptions(max_speech_duration_s=30, min_silence_duration_ms=160)
_PIECE_SAMPLES = 40 * VOICE_SAMPLES


class Transcript(NamedTuple):
    segments: list[Segment]
    language: SpokenLanguage


def read_in_windows(backend: Listener, samples: Samples, options: TranscribeOptions) -> Transcript:
    """Returns what is heard when no more of the stream is known than the next window needs."""
    assert backend.loaded.speech is not None
    peak = mel.peak_of(samples, backend.loaded.speech.n_mels)
    position, segments = Position(), list[Segment]()
    while not position.is_at_end(len(samples)):
        task = next_window(position, options, min(len(samples), position.n_samples_needed), peak)
        heard = backend.listen(samples[slice(*samples_of(task))], task, lambda: False)
        assert isinstance(heard, WindowResult)
        segments += heard.segments
        position = position.after(heard)
    assert position.language is not None
    return Transcript(segments, position.language)


def read_speech_in_windows(
    backend: Listener, samples: Samples, options: TranscribeOptions, voices: VoiceOptions
) -> Transcript:
    """Returns the same of the spans where somebody speaks, with times of the whole."""
    collected = Collected()
    for span in find_speech(backend, samples, voices):
        collected.add(span)
    segments, language = read_in_windows(backend, _joined(samples, collected), options)
    restored = [collected.restore(segment) for segment in segments] if collected.n_samples else segments
    return Transcript(restored, language)


def read_in_chunks(backend: Listener, samples: Samples, options: TranscribeOptions) -> Transcript:
    """Returns what is heard in chunks, one by one."""
    collected, chunks = Collected(), list[Samples]()
    for spans in _chunks(find_speech(backend, samples, CHUNK_VOICES)):
        for span in spans:
            collected.add(span)
        chunks.append(np.concatenate([samples[span.start : span.end] for span in spans]))
    language = SpokenLanguage(options.language or "", 1.0)
    if options.language is None:
        joined = np.concatenate([np.zeros(0, np.int16), *chunks])
        heard = backend.listen(joined, LanguageTask(tuple(map(len, chunks))), lambda: False)
        assert isinstance(heard, SpokenLanguage)
        language = heard
    options, segments, offset, last_s = replace(options, language=language.code), list[Segment](), 0, 0.0
    for chunk in chunks:
        result = backend.listen(chunk, ChunkTask(offset / mel.SAMPLE_RATE_HZ, options, last_s), lambda: False)
        assert isinstance(result, ChunkResult)
        segments += [collected.restore(segment) for segment in result.segments]
        offset, last_s = offset + len(chunk), result.last_speech_s
    return Transcript(segments, language)


def find_speech(backend: Listener, samples: Samples, voices: VoiceOptions) -> list[Span]:
    """Returns the spans, found piece by piece."""
    finder, state, spans = SpeechFinder(voices), b"", list[Span]()
    for start in range(0, len(samples) + 1, _PIECE_SAMPLES):
        is_last = start + _PIECE_SAMPLES > len(samples)
        piece = samples[start : start + _PIECE_SAMPLES]
        heard = backend.listen(piece, VoiceTask(is_last, state), lambda: False)
        assert isinstance(heard, VoiceResult)
        spans += finder.feed(heard.probabilities)
        state = heard.state
    return spans + finder.finish(len(samples))


def read_by_library(model: Any, samples: Samples, options: TranscribeOptions, **more: Any) -> Transcript:
    """Returns what `model.transcribe` hears, in our own form."""
    asked = {name: getattr(options, name) for name in options.__struct_fields__}
    asked["temperature"] = list(asked.pop("temperatures"))
    asked["suppress_tokens"] = list(asked["suppress_tokens"])
    found, about = model.transcribe(samples.astype(np.float32) / 32768, **asked, **more)
    segments = [
        Segment(
            start_frame=each.seek,
            start_s=float(each.start),
            end_s=float(each.end),
            text=each.text,
            tokens=tuple(each.tokens),
            temperature=each.temperature,
            avg_logprob=each.avg_logprob,
            compression_ratio=each.compression_ratio,
            no_speech_prob=each.no_speech_prob,
            words=None if each.words is None else tuple(map(_word, each.words)),
        )
        for each in found
    ]
    probabilities = tuple(about.all_language_probs or ())
    return Transcript(segments, SpokenLanguage(about.language, about.language_probability, probabilities))


def assert_same(ours: Transcript, theirs: Transcript) -> None:
    """Text, tokens and times are equal; probabilities as far as single precision goes."""
    assert _exact(ours) == _exact(theirs)
    for name in ("avg_logprob", "no_speech_prob"):
        np.testing.assert_allclose(
            [getattr(each, name) for each in ours.segments],
            [getattr(each, name) for each in theirs.segments],
            atol=1e-4,
        )
    for transcript in (ours, theirs):
        assert transcript.language.probability <= 1
    np.testing.assert_allclose(_probabilities(ours), _probabilities(theirs), atol=1e-4)


def _exact(transcript: Transcript) -> list[Any]:
    """Returns all of it but probabilities."""
    return [transcript.language.code] + [
        replace(
            each,
            avg_logprob=0.0,
            no_speech_prob=0.0,
            words=each.words and tuple(replace(word, probability=0.0) for word in each.words),
        )
        for each in transcript.segments
    ]


def _probabilities(transcript: Transcript) -> list[float]:
    words = [word.probability for each in transcript.segments for word in each.words or ()]
    told = dict(transcript.language.probabilities)
    return [transcript.language.probability, *(told[code] for code in sorted(told)), *words]


def _word(word: Any) -> Word:
    return Word(word.word, float(word.start), float(word.end), float(word.probability))


def _joined(samples: Samples, collected: Collected) -> Samples:
    parts = [samples[span.start : span.end] for span in collected.sources(0, collected.n_samples)]
    return np.concatenate([np.zeros(0, np.int16), *parts])


def _chunks(spans: list[Span]) -> Iterator[list[Span]]:
    maker = ChunkMaker(MAX_CHUNK_SAMPLES)
    for span in spans:
        if complete := maker.add(span):
            yield complete
    if last := maker.finish():
        yield last
