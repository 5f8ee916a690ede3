"""Section `long_files`: what files of 1 minute to 3 hours take in memory, and when the first words come.

The announcements of `bench.speech`, again and again, as one MP3, go to a fresh server that has heard a short
file; answers come as server-sent events. Memory is USS: files without a name, where uploads and samples lie,
count nowhere.
"""

from __future__ import annotations

import dataclasses
import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil

from bench import speech, usage
from bench.fleet import Whisper, serving
from bench.machine import Neighbours
from bench.processes import Server
from bench.sampler import sampling
from bench.speech import RATE_HZ

FIRST_WORDS_SHARE = 0.05  # of the time for 10 minutes of sound, at most
GROWTH_SHARE = 0.1  # of a process, from 10 minutes of sound to 3 hours, at most
ROLES = ("server", "decoder", "model")
_SAMPLE_EVERY_S = 0.25
_N_POINTS = 300  # of a stored curve
_WITHIN_S = 120  # of one event; signs of life come every 10 s


@dataclasses.dataclass(frozen=True)
class Run:
    """One file. batch_size 0: window after window; else so many chunks wait for a turn at once."""

    model: str
    minutes: int
    batch_size: int = 0


RUNS = (
    Run("tiny.en", 1),
    Run("tiny.en", 10),
    Run("tiny.en", 10, batch_size=8),
    Run("base", 10),
    Run("base", 10, batch_size=8),
    Run("tiny.en", 60),
    Run("tiny.en", 180),
)


def measure(is_quick: bool) -> dict[str, Any]:
    """Returns everything the section measures."""
    found = []
    for run in RUNS[:1] if is_quick else RUNS:
        found.append(dataclasses.asdict(run) | _measure(run))
        print({name: value for name, value in found[-1].items() if name != "curves"}, flush=True)
    return {"runs": found, "problems": _problems(found)}


def _measure(run: Run) -> dict[str, Any]:
    file = _file(run.minutes)
    with serving([Whisper(run.model, speech.weights(run.model))]) as server:
        _send(server, run, speech.file_of(speech.clips()[-1].samples, "wav", "pcm_s16le"))
        neighbours = Neighbours(*psutil.Process().children(recursive=True))
        with neighbours, sampling(server, _SAMPLE_EVERY_S) as samples:
            told = _send(server, run, file)
    held = [_held(sample, usage.model_of_pid(samples.taken)) for sample in samples.taken]
    step = max(1, len(held) // _N_POINTS)
    return told | {
        "file_mb": round(len(file) / 1e6, 1),
        "peak_mb": {role: max(each[role] for each in held) for role in ROLES},
        "curves": {"t_s": [each["t"] for each in samples.taken[::step]]}
        | {role: [each[role] for each in held[::step]] for role in ROLES},
        "others_share": round(neighbours.share, 3),
    }


def _file(minutes: int) -> bytes:
    unit = speech.all_prompts().samples
    n_samples = minutes * 60 * RATE_HZ
    samples = np.tile(unit, -(-n_samples // len(unit)))[:n_samples]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "long.mp3"
        return speech.file_of(samples, "mp3", "libmp3lame", b="48k", path=path)


def _send(server: Server, run: Run, file: bytes) -> dict[str, Any]:
    """Returns when the first segment came and the last, and how many there were."""
    fields = {"model": run.model, "language": "en", "temperature": "0", "batch_size": str(run.batch_size)}
    head = {"content-type": "application/octet-stream", "accept": "text/event-stream"}
    url = f"http://127.0.0.1:{server.port}/api/transcribe"
    times: dict[str, list[float]] = {}
    began_s = time.perf_counter()
    with httpx.stream("POST", url, params=fields, content=file, headers=head, timeout=_WITHIN_S) as answer:
        answer.raise_for_status()
        for line in answer.iter_lines():
            if line.startswith("event: "):
                times.setdefault(line.removeprefix("event: "), []).append(time.perf_counter() - began_s)
            elif line.startswith("data: ") and '"error"' in line:
                raise SystemExit(f"the run is void: {json.loads(line.removeprefix('data: '))}")
    return {
        "started_s": round(times["started"][0], 3),
        "first_s": round(times["segment"][0], 3),
        "took_s": round(times["done"][0], 2),
        "segments": len(times["segment"]),
    }


def _held(sample: usage.Sample, owners: dict[str, str]) -> dict[str, float]:
    """Returns MB of each role. What is neither the server nor a model decodes."""
    held = dict.fromkeys(ROLES, 0.0)
    for pid, found in sample["processes"].items():
        role = "server" if pid == "server" else "model" if pid in owners else "decoder"
        held[role] += round(found["uss"] / 1e6, 1)
    return held


def _problems(runs: Sequence[dict[str, Any]]) -> list[str]:
    problems = []
    for run in runs:
        share = run["first_s"] / run["took_s"]
        if run["minutes"] == 10 and share >= FIRST_WORDS_SHARE:
            name = f"{run['model']}, batch_size {run['batch_size']}"
            problems.append(f"{name}: the first words came after {share:.1%} of the time")
    peaks = {
        run["minutes"]: run["peak_mb"] for run in runs if not run["batch_size"] and run["model"] == "tiny.en"
    }
    for role in ROLES if 180 in peaks else ():
        if peaks[180][role] > (1 + GROWTH_SHARE) * peaks[10][role]:
            problems.append(f"{role}: {peaks[10][role]} MB for 10 minutes, {peaks[180][role]} for 180")
    return problems
