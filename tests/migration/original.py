"""The table of what users of the original bring along, read."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Literal

import msgspec

Part = Literal["Endpoints", "Access", "Variables", "Models", "Behaviour"]


class Row(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One piece. theirs: as its users wrote it. here: in what it is better or different.

    test: what proves it, as pytest names it below tests/.
    """

    part: Part
    theirs: str
    verdict: Literal["same", "better", "different"]
    here: str
    test: str


@cache
def rows() -> list[Row]:
    """Returns the rows, in the order of the page that shows them."""
    text = Path(__file__).with_name("original.toml").read_bytes()
    return msgspec.toml.decode(text, type=dict[Literal["row"], list[Row]])["row"]
