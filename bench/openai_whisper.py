"""Section `openai_whisper`: a file through the server, and its samples through openai-whisper, in turns.

The same weights: INT8 here, as the server computes by default on a CPU, float32 there, which is the library's
default. Two threads each, which wait without spinning, since that is faster on both sides. English,
temperature 0 and the same width of beam. The server also receives and decodes the file; the library gets its
samples. BENCH_OPENAI_WHISPER names the folder of an environment with it, as bench/openai_whisper.txt says.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from faster_whisper import WhisperModel

from bench import speech, word_errors
from bench.fleet import Whisper, serving
from bench.machine import Neighbours, child_environment, wait_until_quiet
from bench.processes import Server
from bench.stats import spread

VARIABLE = "BENCH_OPENAI_WHISPER"
TARGET = 4.0  # times as fast
N_THREADS = 2
# Width of the beam, and chunks that are read at once, which the library cannot do.
WAYS = {"beam of 5": (5, 0), "beam of 5, 8 chunks at once": (5, 8), "beam of 1": (1, 0)}
_N_ROUNDS = 3


def measure(is_quick: bool) -> dict[str, Any]:
    """Returns everything the section measures."""
    home = os.environ.get(VARIABLE)
    if not home:
        raise SystemExit(f"{VARIABLE} is not set: see bench/openai_whisper.txt")
    models = speech.MODELS[:1] if is_quick else speech.MODELS
    clip = speech.clips()[0 if is_quick else 1]
    python = Path(home) / "bin" / "python"
    found = [row for model in models for row in _of_model(python, model, clip, 1 if is_quick else _N_ROUNDS)]
    return {
        "clip": clip.name,
        "seconds": round(clip.seconds, 1),
        "words": word_errors.n_words(clip),
        "rows": found,
    }


def _of_model(python: Path, model: str, clip: speech.Clip, n_rounds: int) -> list[dict[str, Any]]:
    rounds: dict[str, list[dict[str, Any]]] = {way: [] for way in WAYS}
    beginning = clip._replace(samples=clip.samples[: 5 * speech.RATE_HZ])
    with serving([Whisper(model, speech.weights(model))]) as server, _theirs(python, model) as theirs:
        _ours(server, model, beginning, 1, 0)  # what is loaded, and where threads begin
        theirs(beginning, 1)
        for _ in range(n_rounds):
            wait_until_quiet()
            told: dict[int, dict[str, Any]] = {}
            with Neighbours(*psutil.Process().children(recursive=True)) as neighbours:
                for way, (beam_size, batch_size) in WAYS.items():
                    ours = _ours(server, model, clip, beam_size, batch_size)
                    if beam_size not in told:
                        told[beam_size] = theirs(clip, beam_size)
                    rounds[way].append({"ours": ours, "theirs": told[beam_size]})
                    print(model, way, ours["seconds"], told[beam_size]["seconds"], flush=True)
            for found in rounds.values():
                found[-1]["others"] = neighbours.share
    return [_row(model, way, found, clip) for way, found in rounds.items()]


def _ours(server: Server, model: str, clip: speech.Clip, beam_size: int, batch_size: int) -> dict[str, Any]:
    file = word_errors.AS_RECORDED.file(clip)
    began_s = time.perf_counter()
    heard = word_errors.by_server(server, model, file, beam_size=str(beam_size), batch_size=str(batch_size))
    seconds = time.perf_counter() - began_s
    return {"text": " ".join(words for _, _, words in heard), "seconds": seconds}


def _row(model: str, way: str, rounds: list[dict[str, Any]], clip: speech.Clip) -> dict[str, Any]:
    ratio = spread([each["theirs"]["seconds"] / each["ours"]["seconds"] for each in rounds])
    ours, theirs = (rounds[-1][whose]["text"] for whose in ("ours", "theirs"))
    return {
        "model": model,
        "way": way,
        "ours_s": spread([each["ours"]["seconds"] for each in rounds]),
        "theirs_s": spread([each["theirs"]["seconds"] for each in rounds]),
        "ratio": ratio,
        "met": ratio["median"] >= TARGET,
        "others_share": round(max(each["others"] for each in rounds), 3),
        "errors": {
            "ours": word_errors.n_errors(clip.text, ours),
            "theirs": word_errors.n_errors(clip.text, theirs),
        },
        "words_apart": word_errors.n_errors(theirs, ours),
        "words_apart_float32": word_errors.n_errors(theirs, _by_library(model, clip, WAYS[way][0])),
    }


def _by_library(model: str, clip: speech.Clip, beam_size: int) -> str:
    """Returns what faster-whisper hears in float32: what is left apart from theirs is not for INT8."""
    library = WhisperModel(str(speech.weights(model)), device="cpu", compute_type="float32", cpu_threads=2)
    heard = speech.by_library(
        library, word_errors.AS_RECORDED.file(clip), language="en", temperature=0.0, beam_size=beam_size
    )
    return " ".join(words for _, _, words in heard)


@contextlib.contextmanager
def _theirs(python: Path, model: str) -> Iterator[Callable[[speech.Clip, int], dict[str, Any]]]:
    """openai-whisper with the model: recording and width of the beam -> text and seconds."""
    environment = child_environment(OMP_NUM_THREADS=str(N_THREADS), OMP_WAIT_POLICY="PASSIVE")
    del environment["PYTHONPATH"]
    program = Path(__file__).with_name("openai_process.py")
    command = [str(python), "-P", str(program), str(speech.weights(model)), str(N_THREADS)]
    with (
        tempfile.NamedTemporaryFile(suffix=".npy") as file,
        subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as process,
    ):
        assert process.stdin is not None
        assert process.stdout is not None
        stdin, stdout = process.stdin, process.stdout

        def hear(clip: speech.Clip, beam_size: int) -> dict[str, Any]:
            np.save(file.name, clip.samples)
            stdin.write(json.dumps({"samples": file.name, "beam_size": beam_size}) + "\n")
            stdin.flush()
            told: dict[str, Any] = json.loads(stdout.readline())
            return told

        yield hear
