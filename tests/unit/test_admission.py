"""How much may wait, and what those are told who may not."""

from __future__ import annotations

import random

import pytest

from turbov2.batching import Gate, Ticket
from turbov2.errors import InvalidRequest, QueueFull


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_places_are_taken_and_given_back() -> None:
    gate = Gate("model 'a'", 10, 1000)
    one, two = gate.admit(4, 100), gate.admit(6, 900)
    assert (gate.n_items, gate.n_bytes) == (10, 1000)
    one.release()
    one.release()
    assert (gate.n_items, gate.n_bytes) == (6, 900)
    two.release()
    assert (gate.n_items, gate.n_bytes) == (0, 0)


def test_a_full_queue_refuses_at_once_and_names_what_to_change() -> None:
    gate = Gate("model 'a'", 10, 1000)
    gate.admit(8, 100)
    with pytest.raises(
        QueueFull, match=r"8 inputs already wait for model 'a'.* has 3, the limit is 10"
    ) as full:
        gate.admit(3, 0)
    assert "(TURBOV2_MAX_QUEUE)" in full.value.message
    assert full.value.retry_after_s == 1
    with pytest.raises(QueueFull, match=r"100 bytes already wait .*is 1000 \(TURBOV2_MAX_QUEUE_BYTES\)"):
        gate.admit(1, 901)
    gate.admit(2, 900)


def test_what_can_never_fit_is_told_so() -> None:
    gate = Gate("model 'a'", 10, 1000)
    with pytest.raises(InvalidRequest, match="has 11 inputs, but at most 10 may wait for model 'a'"):
        gate.admit(11, 0)
    with pytest.raises(InvalidRequest, match="send it in smaller parts"):
        gate.admit(1, 1001)


def test_the_parent_counts_for_all_and_nothing_is_half_admitted() -> None:
    parent = Gate("all models", 10, 1000, setting="TURBOV2_MAX_TOTAL_QUEUE")
    a, b = Gate("model 'a'", 8, 1000, parent), Gate("model 'b'", 8, 1000, parent)
    ticket = a.admit(8, 10)
    with pytest.raises(QueueFull, match=r"all models .*\(TURBOV2_MAX_TOTAL_QUEUE\)"):
        b.admit(3, 0)
    assert (b.n_items, parent.n_items, parent.n_bytes) == (0, 8, 10)
    ticket.release()
    b.admit(3, 0)
    assert (a.n_items, parent.n_items) == (0, 3)


def drain(gate: Gate, clock: Clock, tickets: list[Ticket], every_s: float) -> None:
    for ticket in tickets:
        clock.now_s += every_s
        ticket.release()


def test_retry_after_follows_the_measured_drain_rate() -> None:
    clock = Clock()
    gate = Gate("model 'a'", 1000, 10**9, now_s=clock)
    assert gate.retry_after_s() == 1, "nothing waits"
    gate.admit(200, 0)
    assert gate.retry_after_s() == 1, "nothing is known yet"
    drain(gate, clock, [gate.admit(10, 0) for _ in range(10)], 0.5)  # 20 inputs a second
    assert gate.retry_after_s() == pytest.approx(200 / 20)
    drain(gate, clock, [gate.admit(10, 0) for _ in range(60)], 0.1)  # by now 100 a second
    assert gate.retry_after_s() == pytest.approx(200 / 100, rel=0.1)


def test_idle_time_does_not_count_as_slow() -> None:
    clock = Clock()
    gate = Gate("model 'a'", 1000, 10**9, now_s=clock)
    for _ in range(30):
        ticket = gate.admit(10, 0)
        drain(gate, clock, [ticket], 0.1)
        clock.now_s += 50
    gate.admit(500, 0)
    assert gate.retry_after_s() == pytest.approx(5, rel=0.1)


def test_the_counting_of_prompts_does_not_count_as_slow() -> None:
    clock = Clock()
    gate = Gate("model 'a'", 1000, 10**9, now_s=clock)
    for _ in range(30):
        drain(gate, clock, [gate.admit(10, 0)], 0.1)
        drain(gate, clock, [gate.admit(0, 10)], 5)
    gate.admit(500, 0)
    assert gate.retry_after_s() == pytest.approx(5, rel=0.1)


def test_retry_after_stays_between_one_second_and_one_minute() -> None:
    clock = Clock()
    gate = Gate("model 'a'", 10**6, 10**9, now_s=clock)
    gate.admit(10**5, 0)
    drain(gate, clock, [gate.admit(1, 0) for _ in range(3)], 1)
    assert gate.retry_after_s() == 60
    drain(gate, clock, [gate.admit(10**5, 0) for _ in range(9)], 0.5)
    assert gate.retry_after_s() == 1


def test_random_requests_never_pass_a_limit() -> None:
    random_ = random.Random(1)
    parent = Gate("all", 50, 500)
    gates = [Gate(name, 30, 300, parent) for name in "ab"]
    held: list[tuple[Ticket, int, int, int]] = []
    for _ in range(5000):
        if random_.random() < 0.5 and held:
            held.pop(random_.randrange(len(held)))[0].release()
        else:
            which, n_items, n_bytes = random_.randrange(2), random_.randrange(40), random_.randrange(400)
            try:
                held.append((gates[which].admit(n_items, n_bytes), which, n_items, n_bytes))
            except QueueFull:
                assert n_items <= 30
                assert n_bytes <= 300
            except InvalidRequest:
                assert n_items > 30 or n_bytes > 300
        for which, gate in enumerate(gates):
            assert gate.n_items == sum(n for _, i, n, _ in held if i == which) <= 30
            assert gate.n_bytes == sum(n for _, i, _, n in held if i == which) <= 300
        assert parent.n_items == sum(n for _, _, n, _ in held) <= 50
