"""Which waiting items form the next batch."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turbov2.batching.former import CHARS_PER_TOKEN, Cost, take_next
from turbov2.types import EmbedBatch


def texts(*lengths: int, truncate: bool = True) -> EmbedBatch:
    return EmbedBatch(["x" * length for length in lengths], truncate)


def ids(*lengths: int, truncate: bool = True) -> EmbedBatch:
    return EmbedBatch([[1] * length for length in lengths], truncate)


def take(waiting: list[EmbedBatch], max_cost: int) -> tuple[int, ...]:
    return take_next([(batch, Cost.of(batch)) for batch in waiting], max_cost)


@pytest.mark.parametrize(
    ("batch", "n_inputs", "longest"),
    [
        (texts(3, 7, 5), 3, 7),
        (texts(), 0, 0),
        (texts(0), 1, 0),
        (ids(3, 2), 2, 3 * CHARS_PER_TOKEN),
        (ids(0), 1, 0),
    ],
)
def test_cost(batch: EmbedBatch, n_inputs: int, longest: int) -> None:
    assert Cost.of(batch) == Cost(n_inputs, longest)


@pytest.mark.parametrize(
    ("waiting", "max_cost", "taken"),
    [
        ([], 100, ()),
        ([texts(10)], 100, (0,)),
        ([texts(10)] * 3, 30, (0, 1, 2)),
        ([texts(10)] * 3, 29, (0, 1)),
        ([texts(1000), texts(1)], 100, (0,)),  # the first runs whatever it costs
        ([texts(10), texts(50), texts(10)], 30, (0, 2)),  # a long one is passed over, not waited for
        ([texts(1), texts(1), texts(30)], 60, (0, 1)),  # padding counts: 3 x 30
        ([texts(10, 10), texts(10, 10), texts(10)], 40, (0, 1)),
        ([texts(10), texts(10, truncate=False), texts(10)], 100, (0, 2)),
        ([texts(10), ids(1), texts(10), ids(1)], 100, (0, 2)),
        ([ids(1), texts(10), ids(1)], 100, (0, 2)),
        ([texts(), texts(10)], 100, (0, 1)),
        ([texts(0)] * 4, 0, (0, 1, 2, 3)),
        ([texts(10)] * 2, 0, (0,)),
    ],
)
def test_take_next(waiting: list[EmbedBatch], max_cost: int, taken: tuple[int, ...]) -> None:
    assert take(waiting, max_cost) == taken


_batch = st.builds(
    lambda make, lengths, truncate: make(*lengths, truncate=truncate),
    st.sampled_from([texts, ids]),
    st.lists(st.integers(0, 12), max_size=4),
    st.booleans(),
)


@given(st.lists(_batch, max_size=12), st.integers(0, 120))
def test_batches_are_lawful(waiting: list[EmbedBatch], max_cost: int) -> None:
    costs = [Cost.of(batch) for batch in waiting]
    taken = take(waiting, max_cost)
    assert list(taken) == sorted(set(taken))
    assert taken[:1] == ((0,) if waiting else ())
    if len(taken) > 1:
        n_inputs = sum(costs[i].n_inputs for i in taken)
        assert n_inputs * max(costs[i].longest for i in taken) <= max_cost
    together = [waiting[i] for i in taken]
    assert len({batch.truncate for batch in together}) <= 1
    assert len({isinstance(entry, str) for batch in together for entry in batch.inputs}) <= 1


@given(st.lists(_batch, max_size=12), st.integers(0, 120))
def test_everyone_gets_a_turn(waiting: list[EmbedBatch], max_cost: int) -> None:
    """However large they are, at most as many batches run as requests wait."""
    for _ in range(len(waiting)):
        taken = take(waiting, max_cost)
        waiting = [batch for i, batch in enumerate(waiting) if i not in taken]
    assert waiting == []
