"""Answers side by side with the backend `huggingface`: `python -m bench.side_by_side [ROUNDS]`.

A model of SmolLM2-135M's shape with random weights, in bfloat16 and float32: speed depends on shapes alone.
In each round one answer, four and eight at a time are written, in process and over HTTP, one way right after
the other, and one by the library's own `generate`; a ratio is taken within a round. Every answer has its own
short prompt. Then, how long the tokens of three answers take while a long prompt is read beside them. The
server's children set OMP_WAIT_POLICY=PASSIVE; set it here too.
"""

from __future__ import annotations

import contextlib
import json
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch

from bench import processes
from bench.machine import child_environment, wait_until_quiet
from bench.stats import spread
from tests.support.tiny_writer import ask, library_model, save_writer
from turbov2.backends.huggingface import HuggingFaceBackend
from turbov2.types import LoadSpec

N_AT_ONCE = (1, 4, 8)
N_TOKENS = 48
N_CONTEXT = 2048
DTYPES = ("bfloat16", "float32")
SHAPE = {
    "hidden_size": 576,
    "intermediate_size": 1536,
    "num_hidden_layers": 30,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
    "max_position_embeddings": 8192,
    "initializer_range": 0.04,
}
N_WORDS = 48_700  # with the few that its tokenizer learnt about as many as SmolLM2 knows
LIBRARY, HTTP = "library", "HTTP"
Write = Callable[[int], int]  # writes so many answers at a time; returns how many tokens they have


def _question(number: int) -> str:
    return f"Case {number}: tell a very long story about a fox, a crow and the sea."


def options_of(dtype: str) -> dict[str, object]:
    """Returns the model's options."""
    return {"dtype": dtype, "n_slots": max(N_AT_ONCE)}


def write_of(backend: HuggingFaceBackend, pool: ThreadPoolExecutor) -> Write:
    """Returns what writes in process."""

    def one(number: int) -> int:
        task = ask(_question(number), max_tokens=N_TOKENS)
        return backend.generate(task, [], lambda text: None, lambda: False).n_output_tokens

    return lambda n_answers: sum(pool.map(one, range(n_answers)))


def write_by_library(backend: HuggingFaceBackend) -> Write:
    """Returns what writes with the library's `generate`, one answer after the other."""
    module = library_model(backend)

    def one(number: int) -> int:
        ids = torch.tensor([backend._prompts.encode(ask(_question(number))).ids])
        told = module.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=N_TOKENS, do_sample=False
        )
        return int(told.shape[1] - ids.shape[1])

    return lambda n_answers: sum(map(one, range(n_answers)))


@contextlib.contextmanager
def http(folder: Path, dtype: str, pool: ThreadPoolExecutor) -> Iterator[Write]:
    """What writes over HTTP, with a server of its own."""
    port = processes.free_port()
    with tempfile.TemporaryDirectory() as home:
        table = Path(home, "models.toml")
        table.write_text(
            '[models.bench]\ncapability = "generate"\nbackend = "huggingface"\nrunner = "process"\n'
            f'max_tokens = {N_CONTEXT}\nweights = {{ kind = "path", path = "{folder}" }}\n'
            f'options = {{ dtype = "{dtype}", n_slots = {max(N_AT_ONCE)} }}\n'
        )
        names = {"TURBOV2_HOME": home, "TURBOV2_MODELS_FILE": str(table), "PORT": str(port)}
        environment = child_environment(HOST="127.0.0.1", **names)
        with processes.running(processes.turbov2_command(), port, environment) as server:

            def one(number: int) -> int:
                turns = [{"role": "user", "content": _question(number)}]
                body = {"model": "bench", "messages": turns, "max_tokens": N_TOKENS, "temperature": 0}
                status, answer = server.post("/v1/chat/completions", json.dumps(body).encode())
                if status != 200:
                    raise SystemExit(f"an answer failed: {answer.decode()[:500]}")
                return int(json.loads(answer)["usage"]["completion_tokens"])

            yield lambda n_answers: sum(pool.map(one, range(n_answers)))


def compare(ways: dict[str, Write], n_rounds: int) -> None:
    """Prints tokens a second of each way, how many times that of one, and processor time in process."""
    speeds: dict[str, list[float]] = defaultdict(list)
    cpu_ms: dict[str, list[float]] = defaultdict(list)
    for round_number in range(n_rounds + 1):  # the first one warms up
        wait_until_quiet()
        for way, write in ways.items():
            for n_answers in N_AT_ONCE[:1] if way == LIBRARY else N_AT_ONCE:
                began_s, cpu_began_s = time.perf_counter(), time.process_time()
                n_tokens = write(n_answers)
                if round_number:
                    name = f"{way}, {n_answers}"
                    speeds[name].append(n_tokens / (time.perf_counter() - began_s))
                    cpu_ms[name].append(1000 * (time.process_time() - cpu_began_s) / n_tokens)
    for name, told in speeds.items():
        one = speeds[f"{name.partition(',')[0]}, 1"]
        ratios = [many / single for many, single in zip(told, one, strict=True)]
        print(f"{name:14} tokens/s {spread(told)}  times one {spread(ratios)}", flush=True)
        if name[:4] != HTTP:
            print(f"{name:14} ms of a core a token {spread(cpu_ms[name])}", flush=True)
    ratios = [a / b for a, b in zip(speeds["in process, 1"], speeds[f"{LIBRARY}, 1"], strict=True)]
    print(f"one answer, by the library's own: {spread(ratios)}", flush=True)


def beside_a_long_prompt(backend: HuggingFaceBackend, pool: ThreadPoolExecutor) -> None:
    """Prints the time between tokens of three answers, and while a prompt is read beside them."""
    told_s: list[float] = []
    others = [
        pool.submit(
            backend.generate,
            ask(_question(n), max_tokens=200),
            [],
            lambda _: told_s.append(time.perf_counter()),
            bool,
        )
        for n in range(3)
    ]
    while len(told_s) < 60:
        time.sleep(0.01)
    began_s = time.perf_counter()
    finish = backend.generate(ask("a long story " * 200, max_tokens=1), [], lambda _: None, lambda: False)
    ended_s = time.perf_counter()
    for each in others:
        each.result()
    for name, begin, end in (("alone", 0.0, began_s), ("beside", began_s, ended_s)):
        times = [at for at in told_s[::3] if begin <= at <= end]
        gaps = [1000 * (b - a) for a, b in zip(times, times[1:], strict=False)]
        print(f"ms between tokens, {name}: {statistics.median(gaps):.0f}, at most {max(gaps):.0f}")
    print(f"a prompt of {finish.n_prompt_tokens} tokens was read beside them in {ended_s - began_s:.1f} s")


def main() -> None:
    """Prints all figures."""
    n_rounds = int((*sys.argv[1:], "5")[0])
    with tempfile.TemporaryDirectory() as root, ThreadPoolExecutor(max(N_AT_ONCE)) as pool:
        folder = save_writer("llama", Path(root), n_words=N_WORDS, **SHAPE)
        files = {path.name: str(path) for path in folder.iterdir()}
        for dtype in DTYPES:
            spec = LoadSpec("bench", "huggingface", files, "", N_CONTEXT, options=options_of(dtype))
            backend = HuggingFaceBackend(spec)
            with http(folder, dtype, pool) as over_http:
                print(f"{dtype}, {torch.get_num_threads()} threads")
                ways: dict[str, Write] = {
                    LIBRARY: write_by_library(backend),
                    "in process": write_of(backend, pool),
                    HTTP: over_http,
                }
                compare(ways, n_rounds)
            beside_a_long_prompt(backend, pool)
            backend.close()


if __name__ == "__main__":
    main()
