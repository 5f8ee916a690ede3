"""Which model an answer says it is from: as it was asked for, unless another one stands in for that name."""

from __future__ import annotations

from turbov2.types import ModelStatus
from turbov2.wire._http import Response

_DEFAULT_TAG = ":latest"


def served_as(asked: str, model: ModelStatus) -> str:
    """Returns the model's name as the request spelled it, or its own where the request meant another."""
    plain = asked.lower().removesuffix(_DEFAULT_TAG)
    is_its_own = plain in (name.lower() for name in (model.name, *model.aliases))
    return asked if is_its_own else model.name


def naming(response: Response, model: ModelStatus) -> Response:
    """Returns the response with a header that names the model, whatever its body calls it."""
    response.headers = [*response.headers, (b"x-turbov2-model", model.name.encode("ascii", "replace"))]
    return response
