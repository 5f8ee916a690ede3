"""The fake model does what its options say, and nothing else."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.words import Words
from turbov2.backends.fake import TRIGGERS, FakeBackend, vectors_of
from turbov2.errors import InferenceFailed, InputTooLong, InvalidRequest, OutOfMemory
from turbov2.types import (
    Finish,
    GenerateTask,
    LoadSpec,
    PromptMessage,
    TextPart,
    TokenBatch,
    Tool,
    ToolChoice,
)


def fake(max_tokens: int | None = None, **options: Any) -> FakeBackend:
    return FakeBackend(LoadSpec("fake", "fake", {}, "", max_tokens=max_tokens, options=options))


def rows_of(tokens: TokenBatch) -> list[list[int]]:
    return [row.tolist() for row in np.split(tokens.ids, tokens.lengths.cumsum()[:-1])]


@given(st.lists(st.text(), min_size=1, max_size=6))
def test_a_vector_depends_on_its_own_words_alone(texts: list[str]) -> None:
    backend = fake()
    together = backend.embed(backend.tokenize(texts)).dense
    alone = [backend.embed(backend.tokenize([text])).dense for text in texts]
    assert together.tobytes() == b"".join(vector.tobytes() for vector in alone)
    assert together.tobytes() == vectors_of(texts).tobytes()
    assert ((together >= -1) & (together < 1)).all()


def test_words_are_tokens_and_the_end_is_cut() -> None:
    backend = fake(max_tokens=3)
    tokens = backend.tokenize(["a b c d e", "", "a b", "d"])
    a, b, c = rows_of(tokens)[0]
    assert rows_of(tokens)[2] == [a, b]
    assert len({a, b, c, *rows_of(tokens)[3]}) == 4
    assert tokens.lengths.tolist() == [3, 0, 2, 1]
    assert tokens.full_lengths.tolist() == [5, 0, 2, 1]
    assert (
        backend.embed(tokens).dense.tobytes()
        == vectors_of(["a b c d e", "", "a b", "d"], max_tokens=3).tobytes()
    )


def test_ids_are_taken_as_they_are_and_checked() -> None:
    backend = fake(max_tokens=3)
    tokens = backend.tokenize([[5, 6, 7, 8], [], [31_999]])
    assert rows_of(tokens) == [[5, 6, 7], [], [31_999]]
    assert tokens.full_lengths.tolist() == [4, 0, 1]
    for bad in (-1, 32_000, 2**40):
        with pytest.raises(InvalidRequest, match=f"input 1 has token id {bad}"):
            backend.tokenize([[1], [2, bad]])


@pytest.mark.parametrize("trigger", TRIGGERS)
def test_a_trigger_marks_its_text_and_changes_no_length(trigger: str) -> None:
    plain, told = fake(), fake(**{trigger: "now, please"})
    texts = ["a b c", "do it now, please do", "now,", "x now, pleased"]
    marked, unmarked = told.tokenize(texts), plain.tokenize(texts)
    assert marked.lengths.tolist() == unmarked.lengths.tolist()
    differs = [a != b for a, b in zip(rows_of(marked), rows_of(unmarked), strict=True)]
    assert differs == [False, True, False, True]


@pytest.mark.parametrize(("option", "error"), [("fail_on", InferenceFailed), ("oom_on", OutOfMemory)])
def test_failures_hit_the_whole_forward(option: str, error: type[Exception]) -> None:
    backend = fake(**{option: "BAD"})
    with pytest.raises(error, match="told to"):
        backend.embed(backend.tokenize(["fine", "so BAD"]))
    assert len(backend.embed(backend.tokenize(["fine"])).dense) == 1


@pytest.mark.parametrize("heals", [False, True])
def test_nan_hits_its_row_and_may_heal(heals: bool) -> None:
    backend = fake(nan_on="BAD", nan_heals=heals)
    tokens = backend.tokenize(["fine", "so BAD", "fine"])
    for is_precise in (False, True):
        is_nan = np.isnan(backend.embed(tokens, is_precise=is_precise).dense).all(axis=1)
        assert is_nan.tolist() == [False, not (is_precise and heals), False]


@pytest.mark.parametrize("is_padded", [False, True])
def test_a_batch_that_costs_too_much_runs_out_of_memory(is_padded: bool) -> None:
    backend = fake(is_padded=is_padded, oom_above_tokens=6)
    assert backend.loaded.is_padded == is_padded
    assert len(backend.embed(backend.tokenize(["a b", "c d", "e f"])).dense) == 3
    ragged = backend.tokenize(["a b c d", "e"])  # 5 tokens, 8 with padding
    if is_padded:
        with pytest.raises(OutOfMemory, match="8 tokens"):
            backend.embed(ragged)
    else:
        assert len(backend.embed(ragged).dense) == 2
        with pytest.raises(OutOfMemory, match="7 tokens"):
            backend.embed(backend.tokenize(["a b c d", "e f g"]))
    assert backend.embed(backend.tokenize([])).dense.shape == (0, 8)


@pytest.mark.parametrize(("is_padded", "wanted_s"), [(False, 0.5), (True, 0.8)])
def test_time_is_spent_by_cost(monkeypatch: pytest.MonkeyPatch, is_padded: bool, wanted_s: float) -> None:
    slept_s: list[float] = []
    backend = fake(is_padded=is_padded, delay_s=0.25, delay_s_per_token=0.1)
    monkeypatch.setattr(time, "sleep", slept_s.append)
    backend.embed(backend.tokenize(["a b c d", "e"]))
    assert slept_s == [pytest.approx(0.25 + wanted_s)]


def test_memory_is_kept_as_told() -> None:
    backend = fake(host_bytes=1000, leak_bytes=10)
    for _ in range(3):
        backend.embed(backend.tokenize(["a"]))
    assert sum(array.nbytes for array in backend._kept) == 1030
    backend.close()
    assert not backend._kept


def written(backend: FakeBackend, *lines: str, **task: Any) -> tuple[str, Finish]:
    pieces = Words()
    messages = (PromptMessage("user", (TextPart("\n".join(lines)),)),)
    finish = backend.generate(GenerateTask(messages, **task), (), pieces.take, lambda: False)
    return "".join(pieces), finish


def test_a_writer_thinks_calls_and_holds_to_a_schema() -> None:
    backend = fake(is_writer=True, thinks=True, calls_tools=True)
    tools = (Tool("ls", "lists files", "{}"),)
    thought = "<think>\nI read 2 words.\n</think>\n\n"
    assert written(backend, "a b")[0] == f"{thought}a b"
    assert written(backend, "a b", thinks=False)[0] == "a b"
    told, finish = written(backend, "hm", 'CALL ls {"all": true}', tools=tools, thinks=False)
    assert told == 'I call.\n<tool_call>\n{"name": "ls", "arguments": {"all": true}}\n</tool_call>'
    assert finish.n_prompt_tokens == 8
    forced = ToolChoice("required")
    assert '"arguments": {}' in written(backend, "a", tools=tools, choice=forced, thinks=False)[0]
    assert (
        written(backend, "CALL ls {}", tools=tools, choice=ToolChoice("none"), thinks=False)[0]
        == "CALL ls {}"
    )
    schema = '{"type": "object", "properties": {"n": {"type": "integer"}, "s": {"enum": ["x"]}}}'
    assert written(backend, "a", schema=schema, thinks=False)[0] == '{"n": 1, "s": "x"}'


def test_a_writer_does_turn_by_turn_what_the_user_said() -> None:
    backend = fake(is_writer=True, calls_tools=True)
    script = PromptMessage("user", (TextPart("CALL ls {}\nTHEN\nSAY all  done\nTHEN\nnothing"),))
    turn, reminder = PromptMessage("assistant", (TextPart("x"),)), PromptMessage("user", (TextPart("mind"),))
    tools = (Tool("ls", "lists files", "{}"),)

    def writes(*messages: PromptMessage) -> str:
        pieces = Words()
        backend.generate(GenerateTask(messages, tools=tools), (), pieces.take, lambda: False)
        return "".join(pieces)

    assert "<tool_call>" in writes(script)
    assert writes(script, turn, reminder) == "all done"
    assert writes(script, turn, turn) == "CALL ls {} THEN SAY all done THEN nothing x x"
    assert writes(script, turn, turn, turn).endswith("nothing x x x")


def test_a_writer_refuses_a_prompt_that_leaves_no_room() -> None:
    backend = fake(max_tokens=3, is_writer=True)
    text, finish = written(backend, "a b")
    assert (text, finish.reason) == ("a", "length")  # prompt and answer share it
    with pytest.raises(InputTooLong, match="prompt is too long: 3 tokens > 3 maximum"):
        written(backend, "a b c")


def test_a_writer_that_keeps_prefixes_says_how_much_it_did_not_read_again() -> None:
    backend = fake(is_writer=True, keeps_prefix=True)
    cached = [written(backend, text)[1].n_cached_tokens for text in ("a b c", "a b d e", "b", "b")]
    assert cached == [0, 2, 0, 1]
    assert written(fake(is_writer=True), "a")[1].n_cached_tokens == 0
