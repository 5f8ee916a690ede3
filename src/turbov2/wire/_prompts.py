"""What requests call the two sides of a search → which of a model's prompts goes in front."""

from __future__ import annotations

from turbov2.errors import InvalidRequest
from turbov2.types.embed import InputType


def parse_prompt_name(name: str | None) -> InputType:
    """Returns the side whose prompt is wanted; documents' where nothing is said. Raises: InvalidRequest."""
    if name is None or name in ("document", "passage"):
        return "document"
    if name == "query":
        return "query"
    raise InvalidRequest(f"prompt_name is '{name[:40]}', expected 'query' or 'document'", param="prompt_name")
