"""Silero's voice detector, which comes with faster-whisper, on a stream that comes in pieces."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from faster_whisper.vad import get_vad_model

from turbov2.types import VoiceResult, VoiceTask

if TYPE_CHECKING:
    from turbov2.types.audio import Samples

WINDOW_SAMPLES = 512
_CONTEXT_SAMPLES = 64  # of the window before, which the network sees too
_STATE_FLOATS = 128  # of each of the network's two memories
_N_AT_ONCE = 1875  # windows, a minute: what bounds the network's memory


def hear_voices(task: VoiceTask, samples: Samples) -> VoiceResult:
    """Returns how likely each of the windows is speech. At a stream's end silence fills the last one up.

    As the library has it, a stream that ends with a window gets one more, of silence, and in the last window
    the last 64 samples do not count.
    """
    heard = samples.astype(np.float32) / np.float32(32768)
    if task.is_last:
        heard = np.pad(heard, (0, WINDOW_SAMPLES - len(heard) % WINDOW_SAMPLES))
        heard[-_CONTEXT_SAMPLES:] = 0
    windows = heard.reshape(-1, WINDOW_SAMPLES)
    state = np.frombuffer(task.state, np.float32) if task.state else np.zeros(_N_STATE, np.float32)
    h, c, context = np.split(state, (_STATE_FLOATS, 2 * _STATE_FLOATS))
    h, c = h.reshape(1, 1, -1), c.reshape(1, 1, -1)
    before = np.concatenate((context[None], windows[:-1, -_CONTEXT_SAMPLES:]))[: len(windows)]
    seen = np.concatenate((before, windows), axis=1)
    probabilities: list[float] = []
    session = get_vad_model().session
    for start in range(0, len(seen), _N_AT_ONCE):
        found, h, c = session.run(None, {"input": seen[start : start + _N_AT_ONCE], "h": h, "c": c})
        probabilities += found.reshape(-1).tolist()
    context = windows[-1, -_CONTEXT_SAMPLES:] if len(windows) else context
    return VoiceResult(tuple(probabilities), np.concatenate((h.ravel(), c.ravel(), context)).tobytes())


_N_STATE = 2 * _STATE_FLOATS + _CONTEXT_SAMPLES
