"""LocalEngine with fake models in all runner kinds: what a wire may rely on."""

from __future__ import annotations

import asyncio
import math
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from turbov2.backends.fake import FakeBackend
from turbov2.catalog import Catalog, HubWeights, ModelSpec, PathWeights
from turbov2.engine import LocalEngine
from turbov2.errors import (
    InferenceFailed,
    InputTooLong,
    InvalidRequest,
    LoadFailed,
    LoadTimeout,
    ModelNotFound,
    ModelUnavailable,
    NotCapable,
    NotFinite,
    OutOfMemory,
    RunnerCrashed,
    Stopping,
    TurboError,
)
from turbov2.settings import load_settings
from turbov2.types import Context, EmbedRequest, EmbedResult, LoadSpec

pytestmark = pytest.mark.timeout(60)
KINDS = ["inline", "thread", "process"]
CONTEXT = Context("request-1")
TEXTS = ["a b", "", "über 模型 🙂", "one two three", "a b"]


def model(folder: Path, name: str = "fake", runner: str = "inline", **fields: Any) -> ModelSpec:
    """Returns a fake model of 8 dimensions; what is no field of a ModelSpec is an option of the backend."""
    weights = folder / name
    weights.mkdir(exist_ok=True)
    (weights / "model.safetensors").write_bytes(b"dummy")
    known = {key: fields.pop(key) for key in list(fields) if key in ModelSpec.__struct_fields__}
    return ModelSpec(
        **{
            "name": name,
            "capability": "embed",
            "backend": "fake",
            "runner": runner,
            "dimensions": 8,
            "weights": PathWeights(str(weights)),
            "options": fields,
        }
        | known
    )


@asynccontextmanager
async def serving(folder: Path, *specs: ModelSpec, **settings: str) -> AsyncIterator[LocalEngine]:
    environment = {"TURBOV2_HOME": str(folder / "home"), "TURBOV2_PRELOAD": ","}
    engine = LocalEngine(Catalog(specs), load_settings(environment | settings))
    await engine.start()
    try:
        yield engine
    finally:
        await engine.stop()
        assert not engine.residents()
        assert all(pool.committed_bytes == 0 for pool in engine.pools())


async def embed(engine: LocalEngine, *inputs: Any, name: str = "fake", **fields: Any) -> EmbedResult:
    return await engine.embed(EmbedRequest(name, list(inputs), **fields), CONTEXT)


def raw(*inputs: Any, **options: Any) -> np.ndarray[Any, np.dtype[np.float32]]:
    backend = FakeBackend(LoadSpec("fake", "fake", {}, "", options=options))
    return backend.embed(backend.tokenize(list(inputs))).dense


def unit(vectors: np.ndarray[Any, np.dtype[np.float32]]) -> np.ndarray[Any, np.dtype[np.float64]]:
    wide = vectors.astype(np.float64)
    return wide / np.linalg.norm(wide, axis=1, keepdims=True)  # type: ignore[no-any-return]


# --- vectors


@pytest.mark.parametrize("kind", KINDS)
async def test_embeds_in_order_and_normalises(tmp_path: Path, kind: str) -> None:
    async with serving(tmp_path, model(tmp_path, runner=kind)) as engine:
        result = await embed(engine, *TEXTS)
        assert result.model == "fake"
        assert result.vectors.dtype == np.float32
        np.testing.assert_allclose(result.vectors, unit(raw(*TEXTS)), atol=1e-6)
        assert result.n_tokens == 2 + 0 + 3 + 3 + 2
        assert result.truncated == ()
        assert result.total_ns >= result.load_ns > 0


async def test_all_runner_kinds_give_the_same_bits(tmp_path: Path) -> None:
    async with serving(tmp_path, *(model(tmp_path, kind, kind) for kind in KINDS)) as engine:
        results = [await embed(engine, *TEXTS, name=kind) for kind in KINDS]
    for result in results[1:]:
        assert result.vectors.tobytes() == results[0].vectors.tobytes()
        assert result.n_tokens == results[0].n_tokens


@pytest.mark.parametrize("kind", KINDS)
async def test_a_text_has_the_same_bits_whatever_runs_beside_it(tmp_path: Path, kind: str) -> None:
    async with serving(tmp_path, model(tmp_path, runner=kind, delay_s=0.002)) as engine:
        together = await embed(engine, *TEXTS)
        singles = await asyncio.gather(*(embed(engine, text) for text in TEXTS))
    assert b"".join(single.vectors.tobytes() for single in singles) == together.vectors.tobytes()


@pytest.mark.parametrize("dimensions", [1, 3, 7, 8, 9, 10_000])
async def test_dimensions_are_cut_first_and_then_normalised(tmp_path: Path, dimensions: int) -> None:
    async with serving(tmp_path, model(tmp_path)) as engine:
        vectors = (await embed(engine, *TEXTS, dimensions=dimensions)).vectors
        assert vectors.shape == (len(TEXTS), min(dimensions, 8))
        np.testing.assert_allclose(vectors, unit(raw(*TEXTS)[:, :dimensions]), atol=1e-6)
        as_they_are = (await embed(engine, *TEXTS, dimensions=dimensions, normalize=False)).vectors
        assert as_they_are.tobytes() == raw(*TEXTS)[:, :dimensions].tobytes()
        assert as_they_are.flags.c_contiguous


async def test_not_normalised_when_not_asked_to(tmp_path: Path) -> None:
    async with serving(tmp_path, model(tmp_path)) as engine:
        assert (await embed(engine, *TEXTS, normalize=False)).vectors.tobytes() == raw(*TEXTS).tobytes()


@pytest.mark.parametrize(
    ("fields", "dimensions", "says"),
    [
        ({}, 0, "dimensions is 0, expected at least 1"),
        ({}, -1, "at least 1"),
        ({}, 4, "not trained for fewer dimensions than 8"),
        ({"matryoshka": True}, 9, "dimensions is 9, but model 'fake' has 8"),
    ],
)
async def test_refused_dimensions(tmp_path: Path, fields: dict[str, Any], dimensions: int, says: str) -> None:
    async with serving(tmp_path, model(tmp_path, **fields)) as engine:
        with pytest.raises(InvalidRequest, match=says) as error:
            await embed(engine, "x", dimensions=dimensions, must_be_matryoshka=True)
        assert error.value.param == "dimensions"
        assert all(resident.leases == 0 for resident in engine.residents())


async def test_allowed_dimensions(tmp_path: Path) -> None:
    async with serving(tmp_path, model(tmp_path, matryoshka=True)) as engine:
        for dimensions in (1, 8):
            result = await embed(engine, "x", dimensions=dimensions, must_be_matryoshka=True)
            assert result.vectors.shape == (1, dimensions)


async def test_prompts(tmp_path: Path) -> None:
    asking = model(tmp_path, query_prompt="query: ", document_prompt="text: ")
    async with serving(tmp_path, asking, model(tmp_path, "plain")) as engine:
        for input_type, prompt in (("query", "query: "), ("document", "text: ")):
            result = await embed(engine, "a", "b", input_type=input_type, normalize=False)
            assert result.vectors.tobytes() == raw(prompt + "a", prompt + "b").tobytes()
            plain = await embed(engine, "a", "b", name="plain", input_type=input_type, normalize=False)
            assert plain.vectors.tobytes() == raw("a", "b").tobytes()
        with pytest.raises(InvalidRequest, match="puts a prompt before each query.*not token ids"):
            await embed(engine, [1, 2], input_type="query")


@pytest.mark.parametrize("kind", KINDS)
async def test_token_ids(tmp_path: Path, kind: str) -> None:
    async with serving(tmp_path, model(tmp_path, runner=kind)) as engine:
        result = await embed(engine, [1, 2, 3], [], [31_999], normalize=False)
        assert result.vectors.tobytes() == raw([1, 2, 3], [], [31_999]).tobytes()
        assert result.n_tokens == 4
        with pytest.raises(InvalidRequest if kind != "process" else TurboError, match="32000.*31999"):
            await embed(engine, [5], [32_000])


@pytest.mark.parametrize("kind", KINDS)
async def test_truncation_is_told_or_refused(tmp_path: Path, kind: str) -> None:
    async with serving(tmp_path, model(tmp_path, runner=kind, max_tokens=3)) as engine:
        result = await embed(engine, "1 2 3", "1 2 3 4", "", "1 2 3 5", normalize=False)
        assert result.truncated == (1, 3)
        assert result.n_tokens == 9
        assert result.vectors[0].tobytes() == result.vectors[1].tobytes() == result.vectors[3].tobytes()
        with pytest.raises(InputTooLong, match="input 1 has 4 tokens"):
            await embed(engine, "1", "1 2 3 4", truncate=False)


async def test_nothing_to_embed(tmp_path: Path) -> None:
    async with serving(tmp_path, model(tmp_path)) as engine:
        result = await embed(engine)
        assert result.vectors.shape == (0, 8)
        assert result.n_tokens == 0


# --- failures


@pytest.mark.parametrize("kind", KINDS)
async def test_no_nan_leaves_and_neighbours_are_answered(tmp_path: Path, kind: str) -> None:
    says = "input 1: .*gave NaN or infinity"
    async with serving(tmp_path, model(tmp_path, runner=kind, nan_on="NAN", delay_s=0.005)) as engine:
        await embed(engine, "warm")
        bad = asyncio.create_task(embed(engine, "fine", "a NAN", "fine"))
        good = [asyncio.create_task(embed(engine, f"good {i}")) for i in range(8)]
        for normalize in (True, False):
            with pytest.raises(NotFinite, match=says):
                await embed(engine, "fine", "a NAN", normalize=normalize)
        with pytest.raises(NotFinite, match=says):
            await bad
        for i, task in enumerate(good):
            assert np.isfinite((await task).vectors).all(), i


@pytest.mark.parametrize("kind", KINDS)
async def test_one_bad_request_fails_alone(tmp_path: Path, kind: str) -> None:
    async with serving(tmp_path, model(tmp_path, runner=kind, fail_on="FAIL", delay_s=0.005)) as engine:
        await embed(engine, "warm")
        texts = ["one", "two FAIL", "three", "four FAIL", "five"]
        results = await asyncio.gather(*(embed(engine, text) for text in texts), return_exceptions=True)
        for text, result in zip(texts, results, strict=True):
            assert isinstance(result, InferenceFailed if "FAIL" in text else EmbedResult), text
        assert engine.residents()[0].leases == 0


async def test_a_crash_fails_those_in_it_and_the_next_is_served(tmp_path: Path) -> None:
    async with serving(tmp_path, model(tmp_path, runner="process", crash_on="CRASH", delay_s=0.05)) as engine:
        await embed(engine, "warm")
        tasks = [asyncio.create_task(embed(engine, text)) for text in ("a", "b CRASH", "c")]
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert isinstance(results[1], RunnerCrashed)
        assert all(isinstance(result, RunnerCrashed | EmbedResult) for result in results)
        after = await asyncio.gather(*(embed(engine, f"after {i}") for i in range(5)))
        assert len(after) == 5
        (resident,) = engine.residents()
        assert (resident.leases, resident.state) == (0, "ready")


@pytest.mark.parametrize("kind", KINDS)
async def test_stop_answers_who_is_still_there(tmp_path: Path, kind: str) -> None:
    async with serving(tmp_path, model(tmp_path, runner=kind, delay_s=0.2)) as engine:
        await engine.load("fake", None, CONTEXT)
        long = "x" * 30_000  # too long to run in the loop itself
        tasks = [asyncio.create_task(embed(engine, long)) for _ in range(6)]
        await asyncio.sleep(0.02)
        await engine.stop()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(result, EmbedResult | TurboError) for result in results), results
        with pytest.raises(Stopping):
            await embed(engine, "late")


async def test_not_capable(tmp_path: Path) -> None:
    async with serving(tmp_path, model(tmp_path, capability="rerank")) as engine:
        with pytest.raises(NotCapable, match="'fake' does not embed, it is for: rerank"):
            await embed(engine, "x")


async def test_unknown_names(tmp_path: Path) -> None:
    async with serving(tmp_path, model(tmp_path)) as engine:
        with pytest.raises(ModelNotFound, match="'nobody' not found"):
            await embed(engine, "x", name="nobody")
        with pytest.raises(InvalidRequest, match="invalid model name"):
            await embed(engine, "x", name="a\nb")
        assert (await embed(engine, "x", name="FAKE:latest")).model == "fake"


def _unavailable(folder: Path) -> dict[str, tuple[ModelSpec, type[TurboError], str, str, str]]:
    """Returns: spec, what using it raises, its availability, a part of the reason, a part of the fix."""
    return {
        "unbuilt": (
            model(folder, "unbuilt", backend="onnx9"),
            ModelUnavailable, "unavailable", "backend 'onnx9' is not built yet", "upgrade",
        ),
        "unpublished": (
            model(folder, "unpublished", weights=PathWeights("")),
            ModelUnavailable, "unavailable", "not published", "your own models file",
        ),
        "no engine": (
            model(folder, "no engine", backend="bitnet", runner="process"),
            ModelUnavailable, "unavailable", "no built bitnet.cpp", "set BITNET_PATH to its folder",
        ),
        "engine in the server": (
            model(folder, "engine in the server", backend="bitnet", runner="thread", path=sys.executable),
            ModelUnavailable, "unavailable", "its runner is 'thread'", "models file",
        ),
        "no folder": (
            model(folder, "no folder", weights=PathWeights("/nowhere")),
            ModelNotFound, "absent", "folder is missing", "correct `path`",
        ),
        "unpinned": (
            model(folder, "unpinned", weights=HubWeights("some/repo", ("*.safetensors",))),
            ModelNotFound, "absent", "not pinned to a commit", "turbov2 pull unpinned",
        ),
        "off": (
            model(folder, "off", weights=HubWeights("some/repo", ("*.safetensors",), "0" * 40)),
            ModelNotFound, "absent", "automatic download is off", "turbov2 pull off",
        ),
    }  # fmt: skip


@pytest.mark.parametrize(
    "name",
    [
        "unbuilt",
        "unpublished",
        "no engine",
        "engine in the server",
        "no folder",
        "unpinned",
        "off",
    ],
)
async def test_what_cannot_run_says_why_and_what_mends_it(tmp_path: Path, name: str) -> None:
    spec, error, availability, reason, fix = _unavailable(tmp_path)[name]
    async with serving(tmp_path, spec, TURBOV2_AUTO_PULL="false") as engine:
        status = engine.model(name)
        assert status.availability == availability
        assert reason in status.reason
        assert fix in status.fix
        with pytest.raises(error) as raised:
            await embed(engine, "x", name=name)
        assert reason in raised.value.message
        assert fix in raised.value.message
        assert not engine.residents()


async def test_who_comes_after_a_failed_load_waits_for_the_next_try(tmp_path: Path) -> None:
    async with serving(tmp_path, model(tmp_path, load_fails=True)) as engine:
        for pause_s in (0.5, 1.0):
            with pytest.raises(LoadFailed) as error:
                await embed(engine, "x")
            assert error.value.retry_after_s == pause_s
        first, second = engine.events()
        assert (second.at - first.at).total_seconds() > 0.45


@pytest.mark.parametrize("kind", KINDS)
async def test_a_load_that_fails_is_shown_and_takes_nothing(tmp_path: Path, kind: str) -> None:
    async with serving(tmp_path, model(tmp_path, runner=kind, load_fails=True)) as engine:
        tasks = [embed(engine, "x") for _ in range(3)]
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(result) for result in results] == [LoadFailed] * 3
        (resident,) = engine.residents()
        assert (resident.state, resident.leases, resident.bytes, resident.pid) == ("failed", 0, {}, 0)
        assert resident.failure == "model 'fake' was told not to load"
        assert resident.retry_in_s is not None
        assert 0 < resident.retry_in_s <= 0.5
        assert engine.pools()[0].committed_bytes == 0
        assert engine.model("fake").availability == "installed"
        assert [event.kind for event in engine.events()] == ["load_failed"], "one load for all three"
        assert not await engine.unload("fake"), "it was not loaded"
        assert engine.residents() == [], "and yet it is forgiven"


async def test_load_timeout(tmp_path: Path) -> None:
    slow = model(tmp_path, runner="thread", load_delay_s=0.3)
    async with serving(tmp_path, slow, TURBOV2_LOAD_TIMEOUT="50ms") as engine:
        with pytest.raises(LoadTimeout, match=r"within 0\.05 s"):
            await embed(engine, "x")
        assert engine.residents()[0].state == "loading"
        while engine.residents()[0].state == "loading":  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        assert len((await embed(engine, "x")).vectors) == 1


async def test_budget(tmp_path: Path) -> None:
    gb = 1_000_000_000
    specs = [
        model(tmp_path, name, host_bytes=size * gb)
        for name, size in (("a", 3), ("b", 4), ("c", 5), ("huge", 11))
    ]
    async with serving(tmp_path, *specs, TURBOV2_HOST_BUDGET=str(10 * gb)) as engine:
        for name in ("a", "b", "a", "c"):
            await embed(engine, "x", name=name)
        assert {resident.model.name for resident in engine.residents()} == {"a", "c"}
        with pytest.raises(
            OutOfMemory, match="needs about 12,650 MB, more than the whole budget of 10,000 MB"
        ):
            await embed(engine, "x", name="huge")
        host = engine.pools()[0]
        assert 8 * gb <= host.committed_bytes <= host.budget_bytes == 10 * gb


# --- life


async def test_load_statuses_unload(tmp_path: Path) -> None:
    specs = [model(tmp_path, "one", "thread", max_tokens=7), model(tmp_path, "two", aliases=("zwei",))]
    async with serving(tmp_path, *specs) as engine:
        assert [status.name for status in await engine.models()] == ["one", "two"]
        assert {status.availability for status in await engine.models()} == {"installed"}
        assert await engine.load("one", 50.0, CONTEXT) > 0
        assert await engine.load("zwei", math.inf, CONTEXT) > 0
        assert [resident.model.name for resident in engine.residents()] == ["two", "one"]
        two, one = engine.residents()
        assert two.expires_at is None
        assert one.expires_at is not None
        assert (one.expires_at - one.last_used_at).total_seconds() == pytest.approx(50, abs=0.1)
        assert (one.state, one.leases) == ("ready", 0)
        assert engine.model("one").availability == "ready"
        assert engine.model("one").max_tokens == 7
        assert "/" not in engine.model("one").source, "folders stay private"
        assert await engine.unload("one")
        assert not await engine.unload("one")
        assert engine.model("one").availability == "installed"
        assert [resident.model.name for resident in engine.residents()] == ["two"]
        with pytest.raises(ModelNotFound):
            await engine.unload("nobody")


async def test_names_of_the_same_weights_share_them(tmp_path: Path) -> None:
    one = model(tmp_path, "one")
    other = model(tmp_path, "other", weights=one.weights, query_prompt="q: ")
    async with serving(tmp_path, one, other) as engine:
        for name in ("one", "other"):
            assert (await embed(engine, "x", name=name)).model == name
        assert len(engine.residents()) == 1
        assert engine.model("other").availability == "ready"
        assert await engine.unload("other")
        assert engine.model("one").availability == "installed"


async def test_preload_pins(tmp_path: Path) -> None:
    settings = {"TURBOV2_PRELOAD": "fake", "TURBOV2_KEEP_ALIVE": "1ms"}
    async with serving(tmp_path, model(tmp_path), **settings) as engine:
        assert engine.is_ready()
        await embed(engine, "x", keep_alive_s=0)
        await asyncio.sleep(0.05)
        (resident,) = engine.residents()
        assert (resident.state, resident.expires_at) == ("ready", None)
        engine.begin_drain()
        assert not engine.is_ready()
        assert len((await embed(engine, "x")).vectors) == 1


async def test_start_says_which_preload_fails(tmp_path: Path) -> None:
    engine = LocalEngine(
        Catalog([model(tmp_path, load_fails=True)]),
        load_settings({"TURBOV2_HOME": str(tmp_path), "TURBOV2_PRELOAD": "fake"}),
    )
    with pytest.raises(LoadFailed, match="'fake'"):
        await engine.start()
    assert not engine.is_ready()
    await engine.stop()


async def test_keep_alive_zero_unloads(tmp_path: Path) -> None:
    async with serving(tmp_path, model(tmp_path)) as engine:
        await embed(engine, "x", keep_alive_s=0)
        while engine.residents():  # noqa: ASYNC110
            await asyncio.sleep(0.005)
        await embed(engine, "x")
        assert len(engine.residents()) == 1


async def test_a_folder_of_the_users_is_never_deleted(tmp_path: Path) -> None:
    async with serving(tmp_path, model(tmp_path)) as engine:
        await embed(engine, "x")
        with pytest.raises(InvalidRequest, match="a folder of yours"):
            await engine.delete("fake")
        assert (tmp_path / "fake" / "model.safetensors").exists()


def test_the_static_path_imports_no_heavy_library() -> None:
    script = """
    import asyncio, os, sys, tempfile
    from turbov2.catalog import Catalog
    from turbov2.engine import LocalEngine
    from turbov2.settings import load_settings
    from turbov2.types import Context, EmbedRequest

    async def main():
        with tempfile.TemporaryDirectory() as home:
            settings = load_settings({"TURBOV2_HOME": home})
            engine = LocalEngine(Catalog.load(None, {}), settings)
            await engine.start()
            result = await engine.embed(EmbedRequest("wordllama-256d", ["hello"]), Context("1"))
            assert result.vectors.shape == (1, 256)
            await engine.stop()

    asyncio.run(main())
    heavy = "torch transformers onnxruntime ctranslate2 vllm bitsandbytes ray wordllama".split()
    assert not [name for name in heavy if name in sys.modules]
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
