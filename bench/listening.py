"""How windows of speech should share a CPU: threads inside a window, windows side by side, or batches.

`python -m bench.listening FOLDER SPEECH.wav` with a folder of a Whisper model in CTranslate2's format and a
recording of at least 42 s. Prints the seconds that each way takes for one file of 30 s and for four at once,
the library's for four one after the other, and what batches do to encoding and decoding. Figures are the best
of several rounds, taken in turns, because other work on the machine only ever takes time away; of batches it
is processor time. The server's children set OMP_WAIT_POLICY=PASSIVE; set it here too, or compare.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from faster_whisper import WhisperModel
from faster_whisper.audio import decode_audio
from numpy.typing import NDArray

from turbov2.backends.whisper import WhisperBackend
from turbov2.speech import mel
from turbov2.speech.windows import Position, next_window, samples_of
from turbov2.types import LoadSpec, TranscribeOptions, WindowResult

OPTIONS = TranscribeOptions(language="en", temperatures=(0.0,))
WAYS = ((1, 1), (2, 1), (1, 2), (2, 2))  # threads inside a window, windows side by side
N_ROUNDS = 5
N_FILES, FILE_S, STEP_S = 4, 30, 4
PROMPT = ("<|startoftranscript|>", "<|en|>", "<|transcribe|>")


def our_backend(folder: Path, n_threads: int, n_slots: int) -> WhisperBackend:
    """Returns the model, for so many windows at a time."""
    files = {path.name: str(path) for path in folder.iterdir()}
    options = {"n_threads": n_threads, "n_slots": n_slots}
    return WhisperBackend(LoadSpec("bench", "whisper", files, "", options=options))


def read(backend: WhisperBackend, samples: NDArray[np.int16]) -> str:
    """Returns the text of a file, read window by window."""
    peak, position, text = mel.peak_of(samples, 80), Position(), ""
    while not position.is_at_end(len(samples)):
        task = next_window(position, OPTIONS, len(samples), peak)
        heard = backend.listen(samples[slice(*samples_of(task))], task, lambda: False)
        assert isinstance(heard, WindowResult)
        text += "".join(segment.text for segment in heard.segments)
        position = position.after(heard)
    return text


def read_by_library(model: Any, samples: NDArray[np.int16]) -> str:
    """Returns the text of a file, read by faster-whisper."""
    found, _ = model.transcribe(samples.astype(np.float32) / 32768, language="en", temperature=0.0)
    return "".join(segment.text for segment in found)


def file_ways(folder: Path, files: list[NDArray[np.int16]]) -> dict[str, Callable[[], object]]:
    """Returns what to time of whole files."""
    ways: dict[str, Callable[[], object]] = {}
    for n_threads in (1, 2, 0):
        model = WhisperModel(str(folder), device="cpu", compute_type="int8", cpu_threads=n_threads)
        name = f"library, {n_threads or 'its default of'} threads"
        ways[f"{name}: one file"] = lambda model=model: read_by_library(model, files[0])
        ways[f"{name}: four in a row"] = lambda model=model: [read_by_library(model, each) for each in files]
    for n_threads, n_slots in WAYS:
        backend = our_backend(folder, n_threads, n_slots)
        pool = ThreadPoolExecutor(n_slots)
        name = f"{n_slots} windows of {n_threads} threads"
        ways[f"{name}: one file"] = lambda backend=backend: read(backend, files[0])
        ways[f"{name}: four at once"] = lambda backend=backend, pool=pool: list(
            pool.map(lambda samples: read(backend, samples), files)
        )
    return ways


def batch_ways(folder: Path, files: list[NDArray[np.int16]]) -> dict[str, Callable[[], object]]:
    """Returns what to time of encoding and decoding."""
    library = WhisperModel(str(folder), device="cpu", compute_type="int8", cpu_threads=1)
    features = [library.feature_extractor(each.astype(np.float32) / 32768)[:, :3000] for each in files]
    prompt = [library.hf_tokenizer.token_to_id(name) for name in PROMPT]
    prompt = prompt if library.model.is_multilingual else prompt[:1]
    encoded = [library.encode(each) for each in features]
    together = library.encode(np.stack(features))
    return {
        "encode one by one": lambda: [library.encode(each) for each in features],
        "encode four together": lambda: library.encode(np.stack(features)),
        "decode one by one": lambda: [library.model.generate(each, [prompt]) for each in encoded],
        "decode four together": lambda: library.model.generate(together, [prompt] * len(files)),
    }


def best_s(ways: Mapping[str, Callable[[], object]], clock: Callable[[], float]) -> dict[str, float]:
    """Returns the least seconds of each way, all of them taken in turns."""
    best = dict.fromkeys(ways, float("inf"))
    for _ in range(N_ROUNDS):
        for name, run in ways.items():
            began_s = clock()
            run()
            best[name] = min(best[name], clock() - began_s)
    return best


def main() -> None:
    """Prints the tables."""
    folder, recording = map(Path, sys.argv[1:3])
    samples = (decode_audio(str(recording)) * 32768).astype(np.int16)
    starts = [number * STEP_S * mel.SAMPLE_RATE_HZ for number in range(N_FILES)]
    files = [samples[start : start + FILE_S * mel.SAMPLE_RATE_HZ] for start in starts]
    for title, make_ways, clock in (
        ("processor time, s", batch_ways, time.process_time),
        ("wall clock, s", file_ways, time.perf_counter),
    ):
        print(title)
        for name, seconds in best_s(make_ways(folder, files), clock).items():
            print(f"  {name:45} {seconds:6.2f}", flush=True)


if __name__ == "__main__":
    main()
