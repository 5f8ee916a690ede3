"""Chunks that stand for themselves, as faster-whisper's batched pipeline reads them."""

from __future__ import annotations

from collections.abc import Callable
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import numpy as np
from faster_whisper import BatchedInferencePipeline, WhisperModel
from faster_whisper.audio import pad_or_trim
from faster_whisper.transcribe import Word as LibraryWord

from turbov2.backends.whisper.sharing import SharedWhisper, library_options
from turbov2.backends.whisper.windows import word_of
from turbov2.speech import mel
from turbov2.types import ChunkResult, ChunkTask, LanguageTask, Segment, SpokenLanguage

if TYPE_CHECKING:
    from turbov2.types.audio import Samples

_SILENCE = -1.5  # features of what is far below the peak: the library puts one such frame behind the chunks


def read_chunk(
    loaded: WhisperModel, task: ChunkTask, samples: Samples, is_cancelled: Callable[[], bool]
) -> ChunkResult:
    """Returns what is heard in the chunk. Its text never depends on another's."""
    whisper = SharedWhisper(loaded, is_cancelled)
    tokenizer = whisper.tokenizer_of(task.options)
    options = library_options(
        task.options,
        tokenizer,
        temperatures=list(task.options.temperatures[:1]),
        max_initial_timestamp=0.0,
        condition_on_previous_text=False,
    )
    pipeline = BatchedInferencePipeline(whisper)
    pipeline.last_speech_timestamp = task.last_speech_s
    features = pad_or_trim(_features(samples, loaded.model.n_mels))
    about = {"offset": task.offset_s, "duration": len(samples) / mel.SAMPLE_RATE_HZ}
    (found,) = pipeline.forward(features[None], tokenizer, [about], options)
    segments = tuple(_segment(each, options.temperatures[0]) for each in found)
    return ChunkResult(segments, float(pipeline.last_speech_timestamp))


def language_of(
    loaded: WhisperModel, task: LanguageTask, samples: Samples, is_cancelled: Callable[[], bool]
) -> SpokenLanguage:
    """Returns the language of the chunks' first 30 s, each scaled by its own peak."""
    ends = list(accumulate(task.n_samples))
    chunks = np.split(samples, ends[:-1])
    features = [_features(chunk, loaded.model.n_mels) for chunk in chunks]
    features.append(np.full((loaded.model.n_mels, 1), _SILENCE, np.float32))
    return SharedWhisper(loaded, is_cancelled).spoken_language(np.concatenate(features, axis=1))


def _features(samples: Samples, n_mels: int) -> Any:
    """Returns the features of a whole chunk; the frame that reaches beyond its end counts for the peak."""
    powers = mel.log_power(samples, 0, mel.count_frames(len(samples)) + 1, n_mels)
    return mel.scaled(powers, float(powers.max()))[:, :-1]


def _segment(found: dict[str, Any], temperature: float) -> Segment:
    words = found.get("words")
    return Segment(
        start_frame=found["seek"],
        start_s=round(float(found["start"]), 3),
        end_s=round(float(found["end"]), 3),
        text=found["text"],
        tokens=tuple(found["tokens"]),
        temperature=temperature,
        avg_logprob=found["avg_logprob"],
        compression_ratio=found["compression_ratio"],
        no_speech_prob=found["no_speech_prob"],
        words=None if words is None else tuple(word_of(LibraryWord(**word)) for word in words),
    )
