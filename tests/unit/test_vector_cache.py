"""The cache of vectors: what it keeps, what goes first, what it weighs."""

from __future__ import annotations

import random
import tracemalloc

import numpy as np

from turbov2.batching import VectorCache
from turbov2.batching.cache import CachedVector


def entry(number: int, dimensions: int = 4) -> CachedVector:
    return CachedVector(np.full(dimensions, number, np.float32), number, number)


def test_the_least_recently_used_goes_first() -> None:
    cache = VectorCache(3 * 700)
    for number in range(3):
        cache.put(str(number), str(number), entry(number))
    assert cache.get("0") is not None
    cache.put("3", "3", entry(3))
    assert [cache.get(str(number)) is not None for number in range(4)] == [True, False, True, True]


def test_an_id_is_not_the_text_that_looks_like_it() -> None:
    cache = VectorCache(10_000)
    cache.put("(1,)", "(1,)", entry(1))
    assert cache.get((1,)) is None
    cache.put((1,), (1,), entry(2))
    assert [cached.length for cached in (cache.get("(1,)"), cache.get((1,))) if cached] == [1, 2]


def test_putting_again_replaces() -> None:
    cache = VectorCache(10_000)
    cache.put("a", "a", entry(1))
    n_bytes = cache.n_bytes
    cache.put("a", "a", entry(2))
    cached = cache.get("a")
    assert (len(cache), cache.n_bytes) == (1, n_bytes)
    assert cached is not None
    assert cached.vector.tolist() == [2] * 4


def test_what_is_larger_than_the_cache_is_not_kept() -> None:
    cache = VectorCache(1000)
    cache.put("a", "a", entry(1))
    cache.put("x" * 250, "x" * 250, entry(2))
    assert cache.get("a") is not None
    assert len(cache) == 1


def test_a_row_does_not_keep_its_batch_in_memory() -> None:
    cache = VectorCache(10_000)
    batch = np.ones((1000, 4), np.float32)
    cache.put("a", "a", CachedVector(batch[3], 1, 1))
    cached = cache.get("a")
    assert cached is not None
    assert cached.vector.base is None


def test_its_own_count_is_not_below_what_memory_it_takes() -> None:
    random_ = random.Random(1)
    cache = VectorCache(4_000_000)
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    for number in range(9000):
        text = random_.choice(["é", "x", "漢", "😀"]) * random_.randrange(1, 60)
        content = text + str(number) if number % 3 else tuple(range(1000 * number, 1000 * number + 40))
        cache.put(content, content, entry(number, 16))
        assert cache.n_bytes <= 4_000_000
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert cache.n_bytes > 3_900_000
    assert after - before <= cache.n_bytes
