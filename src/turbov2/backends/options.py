"""Backend-specific options of a catalogue entry, checked: shared by backends."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from turbov2.errors import LoadFailed
from turbov2.types import LoadSpec

T = TypeVar("T", bound=msgspec.Struct)


def read_options(spec: LoadSpec, form: type[T]) -> T:
    """Returns `spec.options` as `form`. Raises: LoadFailed, naming the option that is unknown or wrong."""
    known = form.__struct_fields__
    for name, value in spec.options.items():
        if name not in known:
            raise LoadFailed(f"backend '{spec.backend}' has no option '{name}'; it has {', '.join(known)}")
        try:
            msgspec.convert({name: value}, form)
        except msgspec.ValidationError as error:
            message = (
                f"option '{name}' of backend '{spec.backend}' has the wrong type or range: {value!r:.80}"
            )
            raise LoadFailed(message) from error
    return msgspec.convert(spec.options, form)
