"""From window to window through a stream: what is asked next, and what follows from the answer."""

from __future__ import annotations

import msgspec

from turbov2.speech import mel
from turbov2.types import SpokenLanguage, TranscribeOptions, WindowResult, WindowTask


class Position(msgspec.Struct, frozen=True):
    """How far a stream was read: all that is needed to go on, in another process or on another day."""

    next_frame: int = 0
    previous_tokens: tuple[int, ...] | None = None
    last_speech_s: float = 0.0
    language: SpokenLanguage | None = None

    @property
    def n_samples_needed(self) -> int:
        """So many samples of the stream must be known, or all, before the next window can be read.

        One frame more than is read, so that the end of what is known is not taken for the stream's.
        """
        return (self.next_frame + mel.WINDOW_FRAMES + 1) * mel.FRAME_SAMPLES

    def after(self, result: WindowResult) -> Position:
        """Returns the position after a window."""
        language = self.language or result.language  # the first window's: it says how it was found
        return Position(result.next_frame, result.previous_tokens, result.last_speech_s, language)

    def is_at_end(self, n_samples: int) -> bool:
        """Returns whether a stream of so many samples is read. One of none still is, for its language."""
        return self.language is not None and self.next_frame >= mel.count_frames(n_samples)


def next_window(position: Position, options: TranscribeOptions, n_samples: int, peak: float) -> WindowTask:
    """Returns what to ask next. n_samples: as many as are known of the stream; peak: of all of it."""
    if position.language is not None:
        options = msgspec.structs.replace(options, language=position.language.code)
    return WindowTask(
        start_frame=position.next_frame,
        n_frames=mel.count_frames(n_samples) - position.next_frame,
        peak=peak,
        options=options,
        previous_tokens=position.previous_tokens,
        last_speech_s=position.last_speech_s,
    )


def samples_of(task: WindowTask) -> tuple[int, int]:
    """Returns the first sample that goes with the task, and the one after the last; it may have fewer."""
    return mel.samples_for(task.start_frame, min(mel.WINDOW_FRAMES, task.n_frames + 1))
