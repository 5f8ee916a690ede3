"""A model in this process: in threads, or in the loop when the request is small."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import psutil
import pytest

from turbov2.backends import registry
from turbov2.backends.fake import vectors_of
from turbov2.backends.tokens import to_batch
from turbov2.errors import InferenceFailed, InvalidRequest, NotCapable, RunnerCrashed
from turbov2.runners.calls import return_freed_memory
from turbov2.runners.inline import INLINE_CHARS, InlineRunner
from turbov2.runners.thread import ThreadRunner
from turbov2.types import EmbedTask, Inputs, Loaded, LoadSpec, Outputs, TokenBatch

pytestmark = pytest.mark.timeout(60)
KINDS = pytest.mark.parametrize("kind", [ThreadRunner, InlineRunner])


async def started(kind: type[ThreadRunner] = ThreadRunner, backend: str = "fake", **options: Any) -> Any:
    runner = kind()
    await runner.start(LoadSpec("demo", backend, {}, "", max_tokens=4, options=options))
    return runner


class Gated:
    """A backend whose forwards wait until they are let through, and whose weights are many small pieces."""

    loaded = Loaded(capabilities=("embed",), dtype="float32")
    gate = threading.Event()
    begun = threading.Event()

    def __init__(self, spec: LoadSpec) -> None:
        self.weights = [bytes(10_000) for _ in range(spec.options.get("n_pieces", 0))]

    def tokenize(self, inputs: Inputs) -> TokenBatch:
        return to_batch([b"\0\0\0\0"] * len(inputs), None)

    def embed(self, tokens: TokenBatch, task: EmbedTask, *, is_precise: bool = False) -> Outputs:
        self.begun.set()
        self.gate.wait()
        return Outputs(np.zeros((len(tokens.lengths), 1), np.float32))

    def free_caches(self) -> None:
        self.weights.clear()

    def close(self) -> None:
        self.weights.clear()


class Mute(Gated):
    loaded = Loaded(capabilities=("classify",), dtype="float32")


@pytest.fixture(autouse=True)
def _gated(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for cls in (Gated, Mute):
        entry = registry.BackendEntry(f"{__name__}:{cls.__name__}")
        monkeypatch.setitem(registry.BACKENDS, cls.__name__.lower(), entry)
    Gated.gate.clear()
    Gated.begun.clear()
    yield
    Gated.gate.set()


async def begun() -> None:
    assert await asyncio.to_thread(Gated.begun.wait, 10)


@KINDS
async def test_two_steps(kind: type[ThreadRunner]) -> None:
    runner = await started(kind, nan_on="NAN", nan_heals=True)
    assert (runner.is_alive, runner.pid) == (True, os.getpid())
    tokens = await runner.tokenize(["one two three four five", "NAN"])
    assert tokens.full_lengths.tolist() == [5, 1]
    vectors = (await runner.embed(tokens)).dense
    np.testing.assert_array_equal(vectors[:1], vectors_of(["one two three four five"], max_tokens=4))
    assert np.isnan(vectors[1]).all()
    assert np.isfinite((await runner.embed(tokens, is_precise=True)).dense).all()
    await runner.free_caches()
    await runner.stop(5)
    assert not runner.is_alive


async def test_errors_are_ours() -> None:
    runner = await started(fail_on="FAIL")
    with pytest.raises(InferenceFailed, match="told to"):
        await runner.embed(await runner.tokenize(["FAIL"]))
    with pytest.raises(InvalidRequest, match="input 0 has token id 32000"):
        await runner.tokenize([[32_000]])
    await runner.stop(5)
    runner = await started(backend="mute")
    with pytest.raises(NotCapable, match="does not embed"):
        await runner.tokenize(["a"])
    await runner.stop(5)


async def test_tokenizing_does_not_wait_for_a_forward() -> None:
    runner = await started(backend="gated")
    forward = asyncio.create_task(runner.embed(await runner.tokenize(["a"])))
    await begun()
    assert (await runner.tokenize(["b", "c"])).lengths.tolist() == [1, 1]
    assert not forward.done()
    Gated.gate.set()
    assert len((await forward).dense) == 1
    await runner.stop(5)


async def test_small_requests_are_answered_without_suspending() -> None:
    runner = await started(InlineRunner)
    texts = ["a b", "x" * (INLINE_CHARS - 3)]
    tokens, vectors = runner.embed_now(texts)
    assert tokens.lengths.tolist() == [2, 1]
    np.testing.assert_array_equal(vectors, vectors_of(texts))
    assert runner.embed_now([*texts, "x"]) is None
    assert runner.embed_now([[1] * INLINE_CHARS]) is not None
    assert runner.embed_now([[1] * INLINE_CHARS, [1]]) is None
    await runner.stop(5)
    with pytest.raises(RunnerCrashed):
        runner.embed_now(["a"])


async def test_stop_lets_the_running_forward_end_and_refuses_the_rest() -> None:
    runner = await started(backend="gated")
    tokens = await runner.tokenize(["a"])
    running = asyncio.create_task(runner.embed(tokens))
    await begun()
    waiting = asyncio.create_task(runner.embed(tokens))
    await asyncio.sleep(0)
    stopping = asyncio.create_task(runner.stop(10))
    with pytest.raises(RunnerCrashed, match="'demo' was stopped"):
        await waiting
    with pytest.raises(RunnerCrashed, match="'demo' was stopped"):
        await runner.tokenize(["late"])
    assert not stopping.done()
    Gated.gate.set()
    assert len((await running).dense) == 1
    await stopping


async def test_a_cancelled_call_that_waits_is_dropped() -> None:
    runner = await started(backend="gated")
    tokens = await runner.tokenize(["a"])
    running = asyncio.create_task(runner.embed(tokens))
    await begun()
    waiting = asyncio.create_task(runner.embed(tokens))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    Gated.begun.clear()
    Gated.gate.set()
    assert len((await running).dense) == 1
    await runner.stop(5)
    assert not Gated.begun.is_set(), "it was never computed"


@pytest.mark.parametrize("way", ["stop", "free_caches"])
async def test_freed_memory_goes_back_to_the_system(way: str) -> None:
    Gated.gate.set()
    process = psutil.Process()
    return_freed_memory()  # of other tests, which would be used again
    before_bytes = process.memory_info().rss
    runner = await started(backend="gated", n_pieces=20_000)
    scattered = runner._backend.weights[::400]  # so that the heap cannot shrink from its end
    loaded_bytes = process.memory_info().rss
    assert loaded_bytes - before_bytes > 80e6  # a part may lie in holes that other tests left
    await (runner.stop(5) if way == "stop" else runner.free_caches())
    assert process.memory_info().rss - before_bytes < 20e6
    assert len(scattered) == 50
    await runner.stop(5)


async def test_stop_without_a_start_and_twice() -> None:
    runner = ThreadRunner()
    await runner.stop(0)
    runner = await started()
    await asyncio.gather(runner.stop(0), runner.stop(0))
    assert not runner.is_alive
