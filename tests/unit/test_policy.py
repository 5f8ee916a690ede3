"""Who has to go so that a model fits."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turbov2.residency.policy import Candidate, choose_victims


def candidate(
    key: str, size: int, last_used_s: float = 0, leases: int = 0, is_pinned: bool = False
) -> Candidate:
    return Candidate(key, size, leases, is_pinned, last_used_s)


OLD = candidate("old", 10, 1)
NEW = candidate("new", 10, 2)
USED = candidate("used", 50, 0, leases=1)
PINNED = candidate("pinned", 50, 0, is_pinned=True)


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
        (
            6,
            5,
            [candidate("first", 3), candidate("second", 3)],
            ("first",),
        ),  # of equal age: the earlier loaded
    ],
)
def test_choose_victims(
    need: int, free: int, residents: list[Candidate], victims: tuple[str, ...] | None
) -> None:
    assert choose_victims(need, free, residents) == victims


_candidates = st.lists(
    st.builds(
        Candidate,
        key=st.uuids().map(str),
        bytes=st.integers(0, 100),
        leases=st.integers(0, 2),
        is_pinned=st.booleans(),
        last_used_s=st.floats(0, 10),
    ),
    max_size=8,
)


@given(st.integers(0, 300), st.integers(-50, 100), _candidates)
def test_frees_enough_and_no_more_than_it_may(need: int, free: int, residents: list[Candidate]) -> None:
    before = list(residents)
    victims = choose_victims(need, free, residents)
    by_key = {resident.key: resident for resident in residents}
    movable = [resident for resident in residents if not resident.leases and not resident.is_pinned]
    assert residents == before
    if victims is None:
        assert need > free + sum(resident.bytes for resident in movable)
        return
    assert len(set(victims)) == len(victims)
    assert all(by_key[key] in movable for key in victims)
    assert need <= free + sum(by_key[key].bytes for key in victims)
    if victims:  # without the last one it would not have fitted
        assert need > free + sum(by_key[key].bytes for key in victims[:-1])
        stay = [resident.last_used_s for resident in movable if resident.key not in victims]
        assert all(by_key[key].last_used_s <= age for key in victims for age in stay)
