"""A server whose model hears a word in each second with sound, and recordings for it."""

from __future__ import annotations

import io
import wave
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from tests.support.server import INLINE, RunningServer, fake_model

EARS, SLOW, DEADLY, POOR = "whisper-base", "slow-ears", "deadly-ears", "whisper-turbo"
RATE_HZ = 16_000
WORD_S = 0.0125  # that the slow model takes for each word
WINDOW_S = 30 * WORD_S


def recording(n_seconds: float, silent: Iterable[int] = (), rate_hz: int = RATE_HZ) -> bytes:
    """Returns a WAV in which every second has a tone, but for those that are silent."""
    t = np.arange(round(n_seconds * rate_hz))
    sound = (3000 * np.sin(2 * np.pi * 300 * t / rate_hz)).astype(np.int16)
    for second in silent:
        sound[second * rate_hz : (second + 1) * rate_hz] = 0
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(rate_hz)
        writer.writeframes(sound.tobytes())
    return file.getvalue()


def words(n_seconds: int, silent: Iterable[int] = ()) -> str:
    """Returns what the model hears in that recording."""
    return " ".join(f"s{second}" for second in range(n_seconds) if second not in frozenset(silent))


def ears_models(folder: Path) -> str:
    """Returns a models file: models that listen, and one that embeds."""
    listener: dict[str, Any] = {"runner": "process", "capability": "transcribe", "is_listener": True}
    models = [
        fake_model(EARS, folder, **listener),
        fake_model(SLOW, folder, delay_s_per_token=WORD_S, **listener),
        fake_model(DEADLY, folder, crash_on="s40", **listener),
    ]
    poor = fake_model(POOR, folder, **listener).replace("dimensions = 8\n", "translates = false\n")
    models = [poor, *(table.replace("dimensions = 8\n", "") for table in models)]
    return "\n".join([*models, fake_model(INLINE, folder)])


def ears_server(folder: Path) -> RunningServer:
    """Returns a server with these models, not entered yet."""
    return RunningServer(folder, models=ears_models(folder))
