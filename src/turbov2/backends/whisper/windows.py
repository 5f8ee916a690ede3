"""One window of a stream, read by the loop that faster-whisper reads whole files with."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from faster_whisper import WhisperModel
from faster_whisper.utils import get_end
from msgspec.structs import replace

from turbov2.backends.whisper.sharing import SharedWhisper, library_options
from turbov2.speech import mel
from turbov2.types import Segment, SpokenLanguage, WindowResult, WindowTask, Word

if TYPE_CHECKING:
    from turbov2.types.audio import Samples


def read_window(
    loaded: WhisperModel, task: WindowTask, samples: Samples, is_cancelled: Callable[[], bool]
) -> WindowResult:
    """Returns what is heard in the window that begins at `task.start_frame`."""
    n_seen = min(mel.WINDOW_FRAMES, task.n_frames + 1)  # one more than is read counts for the language
    powers = mel.log_power(samples, task.start_frame, n_seen, loaded.model.n_mels)
    features = mel.scaled(powers, task.peak)
    return _Window(loaded, task, features[:, : task.n_frames], is_cancelled).read(features)


class _NextWindow(Exception):  # noqa: N818 - no error
    """The loop goes on to the next window."""


class _Window(SharedWhisper):
    """Runs the library's loop over the windows of a file, unchanged, until it asks for the second.

    What it then asks for is where the next window begins, and what text it would be told of.
    """

    def __init__(
        self, loaded: WhisperModel, task: WindowTask, features: Any, is_cancelled: Callable[[], bool]
    ) -> None:
        super().__init__(loaded, is_cancelled)
        self._task = task
        self._frames = _Frames(features, task)
        self._encoded: tuple[Any, Any] | None = None
        self._found: list[dict[str, Any]] = []  # with their words
        self._previous_tokens: tuple[int, ...] = ()

    def read(self, heard_first: Any) -> WindowResult:
        """Returns the result. heard_first: the features by which the language is detected."""
        options = self._task.options
        if options.language is not None and self.model.is_multilingual:
            language = SpokenLanguage(options.language, 1.0)
        else:
            language = self.spoken_language(heard_first)
        options = replace(options, language=language.code)
        tokenizer = self.tokenizer_of(options)
        told = self._task.previous_tokens
        asked = library_options(
            options,
            tokenizer,
            initial_prompt=options.initial_prompt if told is None else list(told),
            clip_timestamps=[self._task.start_frame / mel.FRAMES_PER_S],
        )
        segments = []
        try:
            for found in self.generate_segments(self._frames, tokenizer, asked, log_progress=False):
                segments.append(_segment(found))
        except _NextWindow:
            pass
        last_s = get_end(self._found)
        return WindowResult(
            segments=tuple(segments),
            next_frame=self._frames.next_frame,
            previous_tokens=self._previous_tokens,
            last_speech_s=self._task.last_speech_s if last_s is None else float(last_s),
            language=language,
        )

    def encode(self, features: Any) -> Any:
        """Returns the encoder's output; for the same features as before, the same."""
        if self._frames.is_read:
            return None
        if self._encoded is None or not np.array_equal(self._encoded[0], features):
            self._encoded = features, super().encode(features)
        return self._encoded[1]

    def get_prompt(self, tokenizer: Any, previous_tokens: list[int], *args: Any, **kwargs: Any) -> list[int]:
        """Returns the window's prompt. Raises: _NextWindow when it would be the next one's."""
        if self._frames.is_read:
            # The library tells a window of at most so many tokens.
            self._previous_tokens = tuple(previous_tokens[-(self.max_length // 2 - 1) :])
            raise _NextWindow
        prompt: list[int] = super().get_prompt(tokenizer, previous_tokens, *args, **kwargs)
        return prompt

    def add_word_timestamps(
        self, segments: Any, *args: Any, last_speech_timestamp: float, **kwargs: Any
    ) -> Any:
        """Gives segments their words, knowing when the window before ended, which the loop does not."""
        self._found = segments[0]
        return super().add_word_timestamps(
            segments, *args, last_speech_timestamp=self._task.last_speech_s, **kwargs
        )


class _Frames:
    """Stands for the features of the whole stream, and holds one window of them.

    next_frame: where the window after it begins.
    """

    def __init__(self, features: Any, task: WindowTask) -> None:
        self._features = features
        self._start = task.start_frame
        end = task.start_frame + task.n_frames
        self.shape = (len(features), end + 1)  # the library takes one frame for the padding's
        self.next_frame = end
        self._n_taken = 0

    @property
    def is_read(self) -> bool:
        """True once a second window was asked for."""
        return self._n_taken > 1

    def __getitem__(self, where: tuple[slice, slice]) -> Any:
        _, frames = where
        self._n_taken += 1
        if self.is_read:
            # A window that ends where it began would be read for ever.
            self.next_frame = frames.start if frames.start > self._start else self.next_frame
            return self._features[:, :0]
        return self._features[:, : frames.stop - self._start]


def _segment(found: Any) -> Segment:
    return Segment(
        start_frame=found.seek,
        start_s=float(found.start),
        end_s=float(found.end),
        text=found.text,
        tokens=tuple(found.tokens),
        temperature=found.temperature,
        avg_logprob=found.avg_logprob,
        compression_ratio=found.compression_ratio,
        no_speech_prob=found.no_speech_prob,
        words=None if found.words is None else tuple(map(word_of, found.words)),
    )


def word_of(word: Any) -> Word:
    """Returns the library's word as ours."""
    return Word(word.word, float(word.start), float(word.end), float(word.probability))
