"""Answers that a model of transformers writes side by side are those it writes alone.

The checkpoints are small and random: what they say means nothing, but each prompt is answered differently.
"""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="runs a model: needs torch")
pytest.importorskip("transformers", reason="runs a model: needs transformers")
pytest.importorskip("llguidance", reason="holds answers to grammars: needs llguidance")

import torch
import transformers
from msgspec.structs import replace

from tests.support.server import RunningServer
from tests.support.tiny_rerank import load_spec
from tests.support.tiny_writer import (
    N_POSITIONS,
    QUESTION,
    Family,
    ask,
    generated,
    library_model,
    save_writer,
    text_of,
    write,
)
from tests.support.words import Words
from turbov2.backends.huggingface import HuggingFaceBackend, steps
from turbov2.backends.huggingface.attention import SIDE_BY_SIDE, Slot, part_of, read
from turbov2.backends.slots import cache_bytes
from turbov2.errors import InferenceFailed
from turbov2.types import Finish, GenerateTask, Written

FAMILIES: tuple[Family, ...] = ("qwen2", "llama")
N_SLOTS = 4
QUESTIONS = [QUESTION, "Où est la gare ?", "long texts and short texts " * 6, "a"]


@pytest.fixture(scope="module", params=FAMILIES)
def backend(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    folder = save_writer(request.param, tmp_path_factory.mktemp("writer"))
    backend = HuggingFaceBackend(load_spec(folder, "huggingface", options={"n_slots": N_SLOTS}))
    yield backend
    backend.close()


@pytest.fixture(scope="module")
def alone(backend: HuggingFaceBackend) -> list[str]:
    """What the library writes of each question."""
    told = [text_of(backend, generated(backend, ask(question), do_sample=False)) for question in QUESTIONS]
    assert len({*told}) == len(told)
    return told


@pytest.fixture(scope="module")
def evil(backend: HuggingFaceBackend) -> tuple[str, int]:
    """A character and a token of it that none of the questions has, and no answer to them."""
    encode, asked = backend._prompts.tokenizer.encode, [ask(question) for question in QUESTIONS]
    known = {token for task in asked for token in backend._prompts.encode(task).ids}
    known |= {token for task in asked for token in generated(backend, task, do_sample=False)}
    return next((each, token) for each in "€§ЖΩ¥ø" for token in encode(each) if token not in known)


class Asker:
    """Asks in threads."""

    def __init__(self, backend: HuggingFaceBackend) -> None:
        self._backend = backend
        self._pool = ThreadPoolExecutor(16)

    def ask(
        self,
        task: GenerateTask,
        on_piece: Callable[[int], None] = lambda n_pieces: None,
        is_cancelled: Callable[[], bool] = lambda: False,
    ) -> Future[tuple[str, Finish]]:
        pieces = Words()

        def on_written(written: Written) -> None:
            pieces.take(written)
            if pieces:
                on_piece(len(pieces))

        def work() -> tuple[str, Finish]:
            finish = self._backend.generate(task, [], on_written, is_cancelled)
            return "".join(pieces), finish

        return self._pool.submit(work)


@pytest.fixture
def asker(backend: HuggingFaceBackend) -> Iterator[Asker]:
    asker = Asker(backend)
    yield asker
    asker._pool.shutdown()


@pytest.mark.parametrize("seed", range(6))
def test_the_scores_of_each_are_those_it_gets_alone(
    backend: HuggingFaceBackend, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prompts of any length, read in pieces of any size, in any company and order."""
    chance = random.Random(seed)
    module, n_known = library_model(backend), backend.loaded.n_vocabulary or 0
    texts = [[chance.randrange(n_known) for _ in range(chance.randint(1, 60))] for _ in range(N_SLOTS)]
    slots, n_read = [Slot(60) for _ in texts], [0] * len(texts)
    with torch.inference_mode():
        lone = [module(torch.tensor([ids]), use_cache=False).logits[0] for ids in texts]
        monkeypatch.setattr(module.config, "_attn_implementation", SIDE_BY_SIDE)
        while unread := [i for i, ids in enumerate(texts) if n_read[i] < len(ids)]:
            told, parts = [], []
            for i in chance.sample(unread, chance.randint(1, len(unread))):
                n_tokens = chance.choice([1, chance.randint(1, len(texts[i]) - n_read[i])])
                parts.append(part_of(slots[i], n_read[i], n_tokens, module.device))
                told += texts[i][n_read[i] : n_read[i] + n_tokens]
            for part, scores in zip(parts, read(module, torch.tensor([told]), parts), strict=True):
                i = slots.index(part.slot)
                n_read[i] += part.n_tokens
                torch.testing.assert_close(scores, lone[i][n_read[i] - 1], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("n_answers", [1, 2, 3, 4])
@pytest.mark.parametrize("n_between", [1, 7])
def test_answers_that_join_others_are_the_librarys(
    backend: HuggingFaceBackend, alone: list[str], asker: Asker, n_answers: int, n_between: int
) -> None:
    """Each begins when the one before has told so many pieces."""
    told: list[Future[tuple[str, Finish]]] = []
    have_begun = threading.Event()

    def begin() -> None:
        number = len(told)

        def on_piece(n_pieces: int) -> None:
            if n_pieces == n_between and number + 1 < n_answers:
                begin()

        told.append(asker.ask(ask(QUESTIONS[number]), on_piece))
        if len(told) == n_answers:
            have_begun.set()

    begin()
    assert have_begun.wait(60)
    assert [each.result()[0] for each in told] == alone[:n_answers]


def test_more_askers_than_slots(backend: HuggingFaceBackend, alone: list[str], asker: Asker) -> None:
    told = [asker.ask(ask(question)) for question in QUESTIONS * 3]
    assert [each.result()[0] for each in told] == alone * 3


def test_a_long_prompt_is_read_in_pieces_while_others_write(
    backend: HuggingFaceBackend, alone: list[str], asker: Asker, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = ask("a long story " * 45, max_tokens=8)
    expected = text_of(backend, generated(backend, long, do_sample=False))
    read_sizes: list[list[int]] = []

    def watched(module: Any, ids: torch.Tensor, parts: Sequence[Any]) -> torch.Tensor:
        read_sizes.append([part.n_tokens for part in parts])
        return read(module, ids, parts)

    monkeypatch.setattr(steps, "read", watched)
    monkeypatch.setattr(steps, "_CPU_PIECE_BESIDE", 16)
    joined: list[Future[tuple[str, Finish]]] = []

    def on_piece(n_pieces: int) -> None:
        if n_pieces == 2:
            joined.extend(asker.ask(long) for _ in range(2))

    first = asker.ask(ask(), on_piece)
    assert first.result()[0] == alone[0]
    assert [each.result()[0] for each in joined] == [expected] * 2
    assert read_sizes.count([1, 8, 8]) > 20  # steps that wrote, and read as much of both
    assert all(sum(sizes[1:]) <= 17 for sizes in read_sizes if sizes[0] == 1)


def test_a_cancel_leaves_the_others_alone(
    backend: HuggingFaceBackend, alone: list[str], asker: Asker
) -> None:
    """One is cancelled while it is written, one while its prompt is read, one before."""
    leaves = threading.Event()
    gone: list[Future[tuple[str, Finish]]] = []

    def on_piece(n_pieces: int) -> None:
        if n_pieces == 3:
            n_asked = iter(range(99))
            gone.append(asker.ask(ask("long " * 100), is_cancelled=lambda: next(n_asked, 99) >= 3))
            gone.append(asker.ask(ask(QUESTIONS[2]), is_cancelled=lambda: True))
        if n_pieces == 5:
            leaves.set()

    cancelled = asker.ask(ask(QUESTIONS[1]), is_cancelled=leaves.is_set)
    told = [asker.ask(ask(QUESTIONS[3])), asker.ask(ask(QUESTIONS[0]), on_piece=on_piece)]
    assert [each.result()[0] for each in told] == [alone[3], alone[0]]
    assert [each.result()[1].reason for each in gone] == ["cancelled"] * 2
    text, finish = cancelled.result()
    assert alone[1].startswith(text)
    assert finish.reason == "cancelled" or text == alone[1]


def test_a_cancel_ends_it_within_a_token(backend: HuggingFaceBackend, asker: Asker) -> None:
    leaves, n_later = threading.Event(), []

    def on_piece(n_pieces: int) -> None:
        if leaves.is_set():
            n_later.append(n_pieces)
        if n_pieces == 4:
            leaves.set()

    other = asker.ask(ask(QUESTIONS[0]))
    finish = asker.ask(ask(QUESTIONS[2]), on_piece, leaves.is_set).result()[1]
    assert (finish.reason, n_later) == ("cancelled", [])
    other.result()


def test_each_has_its_own_ways_and_its_own_chance(backend: HuggingFaceBackend, asker: Asker) -> None:
    schema = json.dumps({"type": "object", "properties": {"a": {"enum": [1, 2]}}, "required": ["a"]})
    tasks = [
        ask(temperature=1.5, seed=3),
        ask(temperature=1.5, seed=4, top_k=20),
        ask(frequency_penalty=1.5, repetition_penalty=1.3),
        replace(ask(max_tokens=200, temperature=1.0, seed=5), schema=schema),
    ]
    lone = [write(backend, task)[0] for task in tasks]
    told = [asker.ask(task) for task in tasks]
    assert [each.result()[0] for each in told] == lone
    assert len({*lone}) == 4
    assert json.loads(lone[3])["a"] in (1, 2)


def test_stop_texts_end_one_alone(backend: HuggingFaceBackend, alone: list[str], asker: Asker) -> None:
    pairs = (alone[2][at : at + 2] for at in range(5, len(alone[2])))
    stop = next(pair for pair in pairs if "\ufffd" not in pair)
    told = [asker.ask(ask(QUESTIONS[0])), asker.ask(ask(QUESTIONS[2], stop=(stop,)))]
    assert [each.result()[0] for each in told] == [alone[0], alone[2][: alone[2].index(stop)]]


@pytest.mark.parametrize("fails", ["no number", "error"])
def test_one_that_fails_fails_alone(
    backend: HuggingFaceBackend, alone: list[str], asker: Asker, evil: tuple[str, int], fails: str
) -> None:
    """A token whose reading goes wrong, in a prompt that is read while others write."""
    letter, evil_id = evil

    def spoil(module: Any, given: tuple[torch.Tensor], told: torch.Tensor) -> torch.Tensor:
        is_evil = given[0] == evil_id
        if fails == "error" and is_evil.any():
            raise ValueError(fails)
        return told.masked_fill(is_evil[..., None], torch.nan)

    joined: list[Future[tuple[str, Finish]]] = []

    def on_piece(n_pieces: int) -> None:
        if n_pieces == 3:
            joined.append(asker.ask(ask(f"and {letter}")))

    hook = backend._model.module.get_input_embeddings().register_forward_hook(spoil)
    try:
        told = [asker.ask(ask(QUESTIONS[0]), on_piece=on_piece), asker.ask(ask(QUESTIONS[1]))]
        assert [each.result()[0] for each in told] == alone[:2]
        with pytest.raises(InferenceFailed if fails == "no number" else ValueError, match=fails):
            joined[0].result()
    finally:
        hook.remove()
    assert write(backend, ask(QUESTIONS[2]))[0] == alone[2]


def test_a_grammar_that_is_met_with_its_limits_fails_one_alone(
    backend: HuggingFaceBackend, alone: list[str], asker: Asker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def constraints(task: GenerateTask, prompt: Any) -> list[Any]:
        def beyond(ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
            if ids.shape[1] > len(prompt.ids) + 5:
                raise InferenceFailed("the answer went beyond")
            return scores

        return [beyond] if task.schema else []

    monkeypatch.setattr(backend, "_constraints", constraints)
    failing = asker.ask(replace(ask(QUESTIONS[1]), schema="{}"))
    assert asker.ask(ask()).result()[0] == alone[0]
    with pytest.raises(InferenceFailed, match="beyond"):
        failing.result()


@pytest.mark.parametrize("family", ["gemma", "gpt2", "mixtral", "phi", "qwen3"])
def test_other_architectures(tmp_path: Path, family: Family) -> None:
    """Of other norms, positions and layers, and experts of which each token takes its own."""
    backend = HuggingFaceBackend(load_spec(save_writer(family, tmp_path), "huggingface"))
    assert backend.loaded.n_slots > 1
    asker = Asker(backend)
    told = [asker.ask(ask(question)) for question in QUESTIONS]
    for question, each in zip(QUESTIONS, told, strict=True):
        expected = generated(backend, ask(question), do_sample=False)
        assert each.result()[0] == text_of(backend, expected)
    backend.close()


@pytest.mark.parametrize("spoilt", [torch.inf, -torch.inf])
def test_scores_that_leave_no_token_to_draw_fail_one_alone(
    backend: HuggingFaceBackend,
    alone: list[str],
    asker: Asker,
    monkeypatch: pytest.MonkeyPatch,
    spoilt: float,
) -> None:
    """On CUDA a draw from them would end everything that is computed there."""

    def constraints(task: GenerateTask, prompt: Any) -> list[Any]:
        return [lambda ids, scores: torch.full_like(scores, spoilt)] if task.schema else []

    monkeypatch.setattr(backend, "_constraints", constraints)
    failing = asker.ask(replace(ask(QUESTIONS[1], temperature=1.0), schema="{}"))
    assert asker.ask(ask()).result()[0] == alone[0]
    with pytest.raises(InferenceFailed, match="no token to draw"):
        failing.result()


ONE_BY_ONE: dict[str, tuple[Family, dict[str, Any]]] = {
    "a sliding window": ("qwen2", {"use_sliding_window": True, "sliding_window": 16, "max_window_layers": 1}),
    "positions by the longest": ("llama", {"rope_parameters": {"rope_type": "dynamic", "factor": 2.0}}),
}


@pytest.mark.parametrize("reason", ONE_BY_ONE)
def test_models_that_write_one_by_one(tmp_path: Path, reason: str) -> None:
    family, sizes = ONE_BY_ONE[reason]
    spec = load_spec(save_writer(family, tmp_path, **sizes), "huggingface", options={"n_slots": N_SLOTS})
    backend = HuggingFaceBackend(spec)
    assert backend.loaded.n_slots == 1
    assert write(backend, ask())[0] == text_of(backend, generated(backend, do_sample=False))


def test_a_model_that_would_not_write_the_same_writes_one_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that takes no notice of the positions it is told, as some architectures do."""
    rotary: Any = transformers.models.llama.modeling_llama.LlamaRotaryEmbedding
    turned = rotary.forward

    def by_place(module: Any, x: torch.Tensor, position_ids: torch.Tensor) -> Any:
        return turned(module, x, torch.arange(position_ids.shape[1])[None])

    monkeypatch.setattr(rotary, "forward", by_place)
    assert HuggingFaceBackend(load_spec(save_writer("llama", tmp_path), "huggingface")).loaded.n_slots == 1


@pytest.mark.parametrize("options", [{}, {"n_slots": 3}, {"dtype": "bfloat16"}])
def test_what_slots_take_is_foreseen(tmp_path: Path, options: dict[str, Any]) -> None:
    """As many of a whole context as 1 GiB has room for; at most eight."""
    spec = load_spec(save_writer("qwen2", tmp_path), "huggingface", options=options)
    backend = HuggingFaceBackend(spec)
    assert backend._steps is not None
    token_bytes = [slot.token_bytes for slot in backend._steps._free]
    assert len(token_bytes) == options.get("n_slots", 8)
    assert cache_bytes(spec) == N_POSITIONS * sum(token_bytes)
    backend.close()


def test_contexts_are_used_to_their_end(backend: HuggingFaceBackend, asker: Asker) -> None:
    """Four answers that fill their slots, and then others in the same slots."""
    for _ in range(2):
        told = [asker.ask(ask("a " * n, max_tokens=10_000, temperature=1.5)) for n in (1, 100, 200, 300)]
        for each in told:
            _, finish = each.result()
            n_all = finish.n_prompt_tokens + finish.n_output_tokens
            assert n_all == N_POSITIONS if finish.reason == "length" else n_all <= N_POSITIONS


def test_a_server_writes_several_at_a_time(tmp_path: Path) -> None:
    folder = save_writer("qwen2", tmp_path / "model")
    with_one = HuggingFaceBackend(load_spec(folder, "huggingface", options={"n_slots": 1}))
    alone = [write(with_one, ask(question))[0] for question in QUESTIONS]
    table = (
        '[models."tiny-words"]\ncapability = "generate"\nbackend = "huggingface"\nrunner = "process"\n'
        f'weights = {{ kind = "path", path = "{folder}" }}\noptions = {{ n_slots = 4 }}\n'
    )
    with RunningServer(tmp_path, models=table) as server, ThreadPoolExecutor(8) as pool:

        def told(question: str) -> str:
            turns = [{"role": "user", "content": question}]
            body = {"model": "tiny-words", "messages": turns, "max_tokens": 64, "temperature": 0}
            answer = server.http.post("/v1/chat/completions", json=body, timeout=60).json()
            return str(answer["choices"][0]["message"]["content"])

        assert list(pool.map(told, QUESTIONS * 4)) == alone * 4
