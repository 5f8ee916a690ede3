"""Who has to go so that a model fits."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turbov2.residency.policy import Candidate, choose_victims, value

MB = 1_000_000


def candidate(key: str, size: int, last_used_s: float = 0, **facts: object) -> Candidate:
    return Candidate(key, {"host": size}, last_used_s=last_used_s, **facts)  # type: ignore[arg-type]


OLD = candidate("old", 10, 1)
NEW = candidate("new", 10, 2)
USED = candidate("used", 50, 0, leases=1)
PINNED = candidate("pinned", 50, 0, is_pinned=True)


def chosen(
    need: dict[str, int], free: dict[str, int], candidates: list[Candidate], *, may_drain: bool = False
) -> tuple[str, ...] | None:
    victims = choose_victims(need, free, candidates, may_drain=may_drain)
    return None if victims is None else tuple(victim.key for victim in victims)


@pytest.mark.parametrize(
    ("need", "free", "residents", "victims"),
    [
        (5, 5, [], ()),
        (0, 0, [OLD], ()),
        (5, 5, [OLD, NEW], ()),
        (6, 5, [], None),
        (6, 5, [OLD, NEW], ("old",)),
        (6, 5, [NEW, OLD], ("old",)),
        (15, 5, [NEW, OLD], ("old",)),
        (16, 5, [NEW, OLD], ("old", "new")),
        (25, 5, [NEW, OLD], ("old", "new")),
        (26, 5, [NEW, OLD], None),
        (6, 5, [USED], None),
        (6, 5, [PINNED], None),
        (6, 5, [USED, PINNED, NEW], ("new",)),
        (26, 5, [USED, PINNED, OLD, NEW], None),
        (0, -5, [OLD, NEW], ("old",)),
        (0, -11, [OLD, NEW], ("old", "new")),
        (0, -21, [OLD, NEW], None),
        (6, 5, [candidate("first", 3), candidate("second", 3)], ("first",)),  # of equal age
        (60, 5, [OLD, candidate("large", 70, 9)], ("large",)),  # which made `old` needless
    ],
)
def test_sizes_and_ages(
    need: int, free: int, residents: list[Candidate], victims: tuple[str, ...] | None
) -> None:
    assert chosen({"host": need}, {"host": free}, residents) == victims


@pytest.mark.parametrize(
    ("worse", "better"),
    [
        ({"priority": "low"}, {"priority": "normal"}),
        ({"priority": "normal"}, {"priority": "high"}),
        ({"priority": "low", "is_for_ever": True}, {"priority": "normal"}),
        ({}, {"is_for_ever": True}),
        ({"n_uses": 100}, {"is_for_ever": True}),
        ({"reload_s": 1.0}, {"reload_s": 60.0}),
        ({"n_uses": 1}, {"n_uses": 5}),
        ({"clock": 0.0, "n_uses": 2}, {"clock": 10.0}),
        ({"last_used_s": 3.0}, {"last_used_s": 4.0}),
        ({"priority": "high"}, {"priority": "low", "leases": 1}),  # even where used ones may drain
    ],
)
def test_who_goes_first(worse: dict[str, object], better: dict[str, object]) -> None:
    both = [
        Candidate("better", {"host": 10}, **better),  # type: ignore[arg-type]
        Candidate("worse", {"host": 10}, **worse),  # type: ignore[arg-type]
    ]
    assert chosen({"host": 10}, {"host": 0}, both, may_drain=True) == ("worse",)


def test_value_is_seconds_saved_per_megabyte_over_the_clock() -> None:
    dear = Candidate("dear", {"host": 100 * MB, "cuda:0": 400 * MB}, n_uses=2, reload_s=60.0, clock=1.0)
    assert value(dear) == pytest.approx(1.0 + 2 * 60 / 500)
    assert value(Candidate("empty", {})) == 1.0, "less than a megabyte counts as one"


def test_a_slow_large_model_outlives_quick_small_ones() -> None:
    """The issue's example: a 60-second LLM outlives ten one-second rerankers."""
    llm = Candidate("llm", {"cuda:0": 1000 * MB}, reload_s=60.0, last_used_s=0.0)
    rerankers = [
        Candidate(f"r{i}", {"cuda:0": 100 * MB}, reload_s=1.0, last_used_s=1.0 + i) for i in range(10)
    ]
    victims = chosen({"cuda:0": 1000 * MB}, {"cuda:0": 0}, [llm, *rerankers])
    assert victims == tuple(f"r{i}" for i in range(10))


def test_what_is_never_used_again_grows_old_however_dear_it_was() -> None:
    """Greedy-Dual-Size: the clock rises with each eviction, and a use takes the clock's value along."""
    dear = Candidate("dear", {"host": MB}, reload_s=10.0)
    clock, n_evicted = 0.0, 0
    while True:
        cheap = Candidate("cheap", {"host": MB}, reload_s=1.0, clock=clock)
        (victim,) = choose_victims({"host": MB}, {"host": 0}, [dear, cheap]) or ()
        clock = max(clock, value(victim))
        if victim is dear:
            break
        n_evicted += 1
    assert 5 < n_evicted < 20


def test_only_those_who_help_go() -> None:
    host = Candidate("host", {"host": 50}, last_used_s=1)
    device = Candidate("device", {"host": 5, "cuda:0": 50}, last_used_s=2)
    other = Candidate("other", {"host": 5, "cuda:1": 50}, last_used_s=0)
    free = {"host": 10, "cuda:0": 0, "cuda:1": 0}
    assert chosen({"host": 5, "cuda:0": 40}, free, [host, device, other]) == ("device",)
    assert chosen({"host": 61, "cuda:0": 40}, free, [host, device, other]) == ("host", "device")
    assert chosen({"cuda:2": 1}, free, [host, device, other]) is None, "no such pool"


def test_used_ones_drain_only_when_they_may_and_have_stayed() -> None:
    new = candidate("new", 10, leases=2, has_stayed=False)
    stayed = candidate("stayed", 10, leases=2)
    pinned = candidate("pinned", 10, leases=2, is_pinned=True)
    everyone = [pinned, new, stayed]
    assert chosen({"host": 5}, {"host": 0}, everyone) is None
    assert chosen({"host": 5}, {"host": 0}, everyone, may_drain=True) == ("stayed",)
    assert chosen({"host": 15}, {"host": 0}, everyone, may_drain=True) is None


_bytes = st.dictionaries(st.sampled_from(["host", "cuda:0", "cuda:1"]), st.integers(0, 100))
_candidates = st.lists(
    st.builds(
        Candidate,
        key=st.uuids().map(str),
        bytes=_bytes,
        leases=st.integers(0, 2),
        is_pinned=st.booleans(),
        priority=st.sampled_from(["low", "normal", "high"]),
        is_for_ever=st.booleans(),
        has_stayed=st.booleans(),
        last_used_s=st.floats(0, 10),
        n_uses=st.integers(0, 5),
        reload_s=st.floats(0, 100),
        clock=st.floats(0, 10),
    ),
    max_size=8,
)


@given(
    st.dictionaries(st.sampled_from(["host", "cuda:0"]), st.integers(0, 300)),
    st.dictionaries(st.sampled_from(["host", "cuda:0"]), st.integers(-50, 100)),
    _candidates,
    st.booleans(),
)
def test_frees_enough_and_no_more_than_it_may(
    need: dict[str, int], free: dict[str, int], residents: list[Candidate], may_drain: bool
) -> None:
    before = list(residents)
    victims = choose_victims(need, free, residents, may_drain=may_drain)
    assert residents == before
    movable = [r for r in residents if not r.is_pinned and (not r.leases or (may_drain and r.has_stayed))]

    def fits(gone: list[Candidate]) -> bool:
        return all(
            n_bytes <= free.get(pool, 0) + sum(r.bytes.get(pool, 0) for r in gone)
            for pool, n_bytes in need.items()
        )

    if victims is None:
        assert not fits(movable)
        return
    assert len({victim.key for victim in victims}) == len(victims)
    assert all(victim in movable for victim in victims)
    assert fits(list(victims))
    for victim in victims:
        assert not fits([other for other in victims if other is not victim]), "one went needlessly"
