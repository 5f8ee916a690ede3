"""What the fake backend hears: a word in each second of a stream that is not silent.

The words of a stream are the same however it is cut into windows, so a test knows them beforehand. Words that
follow one another without silence make a segment, of at most five.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from turbov2.speech import mel
from turbov2.speech.voices import VOICE_SAMPLES
from turbov2.types import (
    ChunkResult,
    ChunkTask,
    Heard,
    LanguageTask,
    Segment,
    SpeechNeed,
    SpeechTask,
    SpokenLanguage,
    TranscribeOptions,
    VoiceResult,
    VoiceTask,
    WindowResult,
    WindowTask,
    Word,
)

if TYPE_CHECKING:
    from turbov2.types.audio import Samples

NEED = SpeechNeed(n_mels=80, languages=("de", "en", "fr"))
_DETECTED = SpokenLanguage("en", 0.75, (("en", 0.75), ("fr", 0.25)))
_LOUD = 500
_N_SEGMENT_WORDS = 5
_N_PREVIOUS_TOKENS = 223


def hear(samples: Samples, task: SpeechTask) -> Heard:
    """Returns what is heard. A word's token is its second; the language, if it is asked for, is English."""
    match task:
        case WindowTask():
            return _hear_window(samples, task)
        case ChunkTask():
            segments = _segments(samples, task.offset_s, task.options, int(task.offset_s * mel.FRAMES_PER_S))
            return ChunkResult(segments, segments[-1].end_s if segments else task.last_speech_s)
        case LanguageTask():
            return _DETECTED
        case VoiceTask():
            n_windows = -(-len(samples) // VOICE_SAMPLES) if task.is_last else len(samples) // VOICE_SAMPLES
            padded = np.pad(samples, (0, max(0, n_windows * VOICE_SAMPLES - len(samples))))
            loud = np.abs(padded.reshape(n_windows, VOICE_SAMPLES)).max(axis=1, initial=0) >= _LOUD
            return VoiceResult(tuple(np.where(loud, 0.9, 0.1).tolist()), b"heard")


def words_of(heard: Heard) -> Iterator[str]:
    """Yields the words of what was heard."""
    if isinstance(heard, WindowResult | ChunkResult):
        for segment in heard.segments:
            yield from segment.text.split()


def _hear_window(samples: Samples, task: WindowTask) -> WindowResult:
    n_frames = min(mel.WINDOW_FRAMES, task.n_frames)
    first, _ = mel.samples_for(task.start_frame, n_frames)
    start = task.start_frame * mel.FRAME_SAMPLES
    own = samples[start - first : start - first + n_frames * mel.FRAME_SAMPLES]
    segments = _segments(own, task.start_frame / mel.FRAMES_PER_S, task.options, task.start_frame)
    told = [*(task.previous_tokens or ()), *(token for each in segments for token in each.tokens)]
    language = _DETECTED if task.options.language is None else SpokenLanguage(task.options.language, 1.0)
    return WindowResult(
        segments=segments,
        next_frame=task.start_frame + n_frames,
        previous_tokens=tuple(told[-_N_PREVIOUS_TOKENS:]) if task.options.condition_on_previous_text else (),
        last_speech_s=segments[-1].end_s if segments else task.last_speech_s,
        language=language,
    )


def _segments(
    samples: Samples, start_s: float, options: TranscribeOptions, start_frame: int
) -> tuple[Segment, ...]:
    runs: list[list[int]] = []
    for second in range(int(start_s), int(start_s + len(samples) / mel.SAMPLE_RATE_HZ + 1)):
        begin = max(0, round((second - start_s) * mel.SAMPLE_RATE_HZ))
        heard = samples[begin : max(0, round((second + 1 - start_s) * mel.SAMPLE_RATE_HZ))]
        if not len(heard) or np.abs(heard.astype(np.int32)).max() < _LOUD or second < start_s:
            continue
        if runs and runs[-1][-1] == second - 1 and len(runs[-1]) < _N_SEGMENT_WORDS:
            runs[-1].append(second)
        else:
            runs.append([second])
    letter = "t" if options.task == "translate" else "s"
    return tuple(_segment(run, letter, start_frame, options.word_timestamps) for run in runs)


def _segment(seconds: list[int], letter: str, start_frame: int, has_words: bool) -> Segment:
    words = tuple(Word(f" {letter}{second}", second, second + 0.9, 0.9) for second in seconds)
    return Segment(
        start_frame=start_frame,
        start_s=float(seconds[0]),
        end_s=seconds[-1] + 0.9,
        text="".join(word.text for word in words),
        tokens=tuple(seconds),
        temperature=0.0,
        avg_logprob=-0.25,
        compression_ratio=1.0,
        no_speech_prob=0.01,
        words=words if has_words else None,
    )
