"""JSON objects that pass through the wires as text."""

from __future__ import annotations

import pytest

from turbov2.errors import InvalidRequest
from turbov2.wire._json_objects import object_text


@pytest.mark.parametrize(("opening", "closing"), [('{"a":', "}"), ('{"a":[', "]}")])
def test_what_is_nested_deeply_is_refused_before_a_model_reads_it(opening: str, closing: str) -> None:
    def nested(n_levels: int) -> str:
        n = n_levels // len(closing)
        return opening * n + "1" + closing * n

    assert object_text(nested(254), "it") == nested(254)
    for n_levels in (258, 900, 1_000_000):
        with pytest.raises(InvalidRequest, match=r"^it is (nested deeper than 256 levels|no JSON object)$"):
            object_text(nested(n_levels), "it")
