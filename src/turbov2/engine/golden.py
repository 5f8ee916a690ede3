"""A look at a loaded model's numbers before anybody else gets them."""

from __future__ import annotations

import numpy as np

from turbov2.batching import Computes
from turbov2.catalog import Golden, ModelSpec
from turbov2.engine.vectors import finish
from turbov2.errors import LoadFailed
from turbov2.types import DENSE


async def check_golden(runner: Computes, spec: ModelSpec) -> None:
    """Returns if the catalogue's texts have the first values that the maker's library gives them.

    A changed file, a library that reads a tokenizer differently or a broken build of a kernel shows here,
    and not in an index that was filled with wrong vectors. Raises: LoadFailed, with the numbers.
    """
    if not spec.golden:
        return
    tokens = await runner.tokenize([golden.text for golden in spec.golden])
    vectors = (await runner.embed(tokens, DENSE)).dense
    assert vectors is not None, "dense vectors were asked for. This is a bug."
    for golden, unit in zip(spec.golden, finish(vectors, None, True, spec.name), strict=True):
        _compare(spec, golden, unit[: len(golden.values)].tolist())


def _compare(spec: ModelSpec, golden: Golden, values: list[float]) -> None:
    difference = float(np.abs(np.subtract(values, golden.values)).max())
    if not difference <= golden.tolerance:  # also for NaN
        got, due = ([round(value, 5) for value in each] for each in (values, golden.values))
        raise LoadFailed(
            f"model '{spec.name}' is not served, because its numbers are off: the vector of "
            f"'{golden.text}' begins {got} instead of {due}; its files or a library have changed"
        )
