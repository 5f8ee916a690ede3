"""How fast files become text over HTTP, beside faster-whisper in process: one file, and four at once.

`python -m bench.transcription FOLDER SPEECH.wav` with a folder of a Whisper model in CTranslate2's format and
a recording of speech. Each contender is a process of its own that loads the same weights as INT8: `turbov2
serve` with defaults, and the library with one thread, with one for each core, and with its default. All read
the same files with beams of 5 and no fallback of temperature, decoding included, one right after the other in
each round; a ratio is taken within a round, and the median with the least and the greatest is shown.
"""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import wave
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np

from bench import processes
from bench.machine import child_environment

N_ROUNDS, N_FILES, FILE_S, STEP_S = 5, 4, 60, 7
RATE_HZ = 16_000
MODEL = "spoken"
FIELDS = {"model": MODEL, "language": "en", "temperature": "0", "response_format": "json"}
# Reads a path and a thread count a line; answers with the seconds and the text.
_LIBRARY = """
import json, sys, time
from faster_whisper import WhisperModel
folder, n_threads = sys.argv[1:]
model = WhisperModel(folder, device="cpu", compute_type="int8", cpu_threads=int(n_threads))
for path in sys.stdin:
    began_s = time.perf_counter()
    found, _ = model.transcribe(path.strip(), language="en", temperature=0.0)
    text = "".join(segment.text for segment in found)
    print(json.dumps([time.perf_counter() - began_s, text]), flush=True)
"""
Read = Callable[[Path], tuple[float, str]]


@contextlib.contextmanager
def library(folder: Path, n_threads: int) -> Iterator[Read]:
    """faster-whisper in a process of its own: a function from a file to seconds and text."""
    command = [sys.executable, "-c", _LIBRARY, str(folder), str(n_threads)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None

        def read(path: Path) -> tuple[float, str]:
            print(path, file=process.stdin, flush=True)
            seconds, text = json.loads(process.stdout.readline())
            return seconds, text.strip()

        yield read
        process.stdin.close()


@contextlib.contextmanager
def server(folder: Path) -> Iterator[Read]:
    """`turbov2 serve`: a function from a file to seconds and text, as a client sees them."""
    with tempfile.TemporaryDirectory() as home:
        models = Path(home, "models.toml")
        models.write_text(
            f'[models."{MODEL}"]\ncapability = "transcribe"\nbackend = "whisper"\nrunner = "process"\n'
            f'host_bytes = 200000000\n[models."{MODEL}".weights]\nkind = "path"\npath = "{folder}"\n'
        )
        port = processes.free_port()
        settings = {"HOST": "127.0.0.1", "PORT": str(port), "TURBOV2_HOME": home}
        environment = child_environment(**settings, TURBOV2_MODELS_FILE=str(models))
        with processes.running(processes.turbov2_command(), port, environment), httpx.Client() as client:

            def read(path: Path) -> tuple[float, str]:
                began_s = time.perf_counter()
                url = f"http://127.0.0.1:{port}/v1/audio/transcriptions"
                file = {"file": (path.name, path.read_bytes())}
                answer = client.post(url, files=file, data=FIELDS, timeout=600).raise_for_status()
                return time.perf_counter() - began_s, answer.json()["text"].strip()

            yield read


def make_files(recording: Path, folder: Path) -> list[Path]:
    """Returns files that begin at different places of the recording, which is repeated."""
    with wave.open(str(recording)) as opened:
        assert (opened.getframerate(), opened.getnchannels()) == (RATE_HZ, 1), "16 kHz, mono"
        samples = np.frombuffer(opened.readframes(opened.getnframes()), np.int16)
    paths = [folder / f"{number}.wav" for number in range(N_FILES)]
    for number, path in enumerate(paths):
        turned = np.resize(np.roll(samples, -number * STEP_S * RATE_HZ), FILE_S * RATE_HZ)
        with wave.open(str(path), "wb") as file:
            file.setparams((1, 2, RATE_HZ, 0, "NONE", ""))
            file.writeframes(turned.tobytes())
    return paths


def all_s(work: Callable[[], object]) -> float:
    """Returns the seconds that it takes."""
    began_s = time.perf_counter()
    work()
    return time.perf_counter() - began_s


def ratios(folder: Path, files: list[Path]) -> dict[str, list[float]]:
    """Returns for each round how many times faster the server is."""
    cores = len(os.sched_getaffinity(0))
    found: dict[str, list[float]] = {}
    with (
        server(folder) as ours,
        library(folder, 1) as alone,
        library(folder, cores) as spread,
        library(folder, 0) as usual,
        ThreadPoolExecutor(N_FILES) as pool,
    ):
        texts = [[read(path)[1] for path in files] for read in (ours, alone, spread, usual)]
        print("texts are", "equal" if all(each == texts[0] for each in texts) else f"DIFFERENT: {texts}")
        contenders = {
            "the library, 1 thread": alone,
            f"the library, {cores} threads": spread,
            "the library's default": usual,
        }
        for _ in range(N_ROUNDS):
            at_once_s = all_s(lambda: list(pool.map(ours, files)))
            ours_s = [ours(path)[0] for path in files]
            for name, read in contenders.items():
                theirs_s = [read(path)[0] for path in files]
                found.setdefault(f"one file, {name}", []).append(sum(theirs_s) / sum(ours_s))
                found.setdefault(f"four at once, {name}", []).append(sum(theirs_s) / at_once_s)
            found.setdefault("four at once, our own one by one", []).append(sum(ours_s) / at_once_s)
            found.setdefault("times real time, one file", []).append(N_FILES * FILE_S / sum(ours_s))
            found.setdefault("times real time, four at once", []).append(N_FILES * FILE_S / at_once_s)
    return found


def main() -> None:
    """Prints the table."""
    with tempfile.TemporaryDirectory() as folder:
        files = make_files(Path(sys.argv[2]), Path(folder))
        for name, values in ratios(Path(sys.argv[1]).resolve(), files).items():
            print(f"{name:45} {statistics.median(values):6.2f}  ({min(values):.2f} to {max(values):.2f})")


if __name__ == "__main__":
    main()
