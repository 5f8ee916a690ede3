"""Section `word_errors`: real speech in many kinds of file, over HTTP and by faster-whisper in process.

Both get the same bytes, the same weights as INT8, English and temperature 0, so that no chance decides. jiwer
counts errors in texts that are normalised as Whisper's authors do. `bench/requirements.txt` has both.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import httpx
from faster_whisper import WhisperModel

from bench import speech
from bench.fleet import Whisper, serving
from bench.processes import Server
from bench.speech import RATE_HZ, Clip

_WITHIN_S = 600  # of one file


@dataclasses.dataclass(frozen=True)
class Kind:
    """A kind of file. `bit_rate` empty: as the encoder has it, or none."""

    name: str
    container: str
    codec: str
    rate_hz: int
    bit_rate: str = ""
    with_video: bool = False

    def file(self, clip: Clip) -> bytes:
        """Returns the clip as such a file."""
        options: dict[str, Any] = {"b": self.bit_rate} if self.bit_rate else {}
        if self.with_video:
            options["with_video"] = True
        return speech.file_of(clip.samples, self.container, self.codec, self.rate_hz, **options)


AS_RECORDED = Kind("WAV, 16 kHz", "wav", "pcm_s16le", RATE_HZ)
KINDS = (
    AS_RECORDED,
    Kind("FLAC, 16 kHz", "flac", "flac", RATE_HZ),
    Kind("MP3, 64 kbit/s", "mp3", "libmp3lame", 44_100, "64k"),
    Kind("M4A (AAC), 64 kbit/s", "ipod", "aac", 44_100, "64k"),
    Kind("MP4 video (AAC), 64 kbit/s", "mp4", "aac", 48_000, "64k", with_video=True),
    Kind("WebM (Opus), 32 kbit/s", "webm", "libopus", 48_000, "32k"),
    Kind("Ogg (Opus), 24 kbit/s", "ogg", "libopus", 48_000, "24k"),
    Kind("Ogg (Opus), 8 kbit/s", "ogg", "libopus", 48_000, "8k"),
    Kind("WAV, 8 kHz", "wav", "pcm_s16le", 8_000),
    Kind("WAV, 8 kHz, mu-law", "wav", "pcm_mulaw", 8_000),
    Kind("WAV, 8 kHz, A-law", "wav", "pcm_alaw", 8_000),
    Kind("MP3, 8 kHz, 16 kbit/s", "mp3", "libmp3lame", 8_000, "16k"),
    Kind("AMR, 8 kHz, 12.2 kbit/s", "amr", "libopencore_amrnb", 8_000, "12200"),
    Kind("AMR, 8 kHz, 4.75 kbit/s", "amr", "libopencore_amrnb", 8_000, "4750"),
)
Heard = list[tuple[float, float, str]]


def measure(is_quick: bool) -> dict[str, Any]:
    """Returns everything the section measures."""
    packed = speech.clips()[:1] if is_quick else speech.clips()
    whole = [] if is_quick else [speech.all_prompts()]
    models = speech.MODELS[:1] if is_quick else speech.MODELS
    runs = [(AS_RECORDED, whole)] * bool(whole) + [(kind, packed) for kind in KINDS]
    found = [row for model in models for row in _of_model(model, runs)]
    unlike = [row for row in found if not row["is_same"]]
    return {
        "clips": [
            {"name": clip.name, "seconds": round(clip.seconds, 1), "words": n_words(clip)}
            for clip in (*packed, *whole)
        ],
        "files": found,
        "problems": [
            f"{row['model']}, {row['kind']}, {row['clip']}: differs from the library's" for row in unlike
        ],
    }


def _of_model(model: str, runs: Sequence[tuple[Kind, Sequence[Clip]]]) -> list[dict[str, Any]]:
    folder = speech.weights(model)
    library = WhisperModel(str(folder), device="cpu", compute_type="int8", cpu_threads=2)
    rows = []
    with serving([Whisper(model, folder)]) as server:
        for kind, clips in runs:
            for clip in clips:
                file = kind.file(clip)
                ours = by_server(server, model, file)
                theirs = speech.by_library(library, file, language="en", temperature=0.0)
                rows.append(
                    {"model": model, "kind": kind.name, "clip": clip.name, "bytes": len(file)}
                    | {"server": _errors_of(clip, ours), "library": _errors_of(clip, theirs)}
                    | {"is_same": ours == theirs, "segments": len(ours)}
                )
            print(rows[-1], flush=True)
    return rows


def by_server(server: Server, model: str, file: bytes, **options: str) -> Heard:
    """Returns (start, end, text) of each segment that the server hears in the file."""
    fields = {"model": model, "language": "en", "temperature": "0"} | options
    url = f"http://127.0.0.1:{server.port}/api/transcribe"
    head = {"content-type": "application/octet-stream"}
    answer = httpx.post(url, params=fields, content=file, headers=head, timeout=_WITHIN_S).raise_for_status()
    return [(each["start"], each["end"], each["text"]) for each in answer.json()["segments"]]


def _errors_of(clip: Clip, heard: Heard) -> int:
    return n_errors(clip.text, " ".join(words for _, _, words in heard))


def n_errors(text: str, heard: str) -> int:
    """Returns how many words are wrong, missing or too many."""
    import jiwer

    told = jiwer.process_words(_normalised(text), _normalised(heard))
    return int(told.substitutions + told.deletions + told.insertions)


def n_words(clip: Clip) -> int:
    """Returns how many words are said in it."""
    return len(_normalised(clip.text).split())


def _normalised(text: str) -> str:
    from whisper_normalizer.english import EnglishTextNormalizer

    return str(EnglishTextNormalizer()(text))
