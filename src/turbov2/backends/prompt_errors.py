"""What backends that write say of a conversation that their model cannot read."""

from __future__ import annotations

from collections.abc import Sequence

from turbov2.errors import InputTooLong, InvalidRequest
from turbov2.types import Role


def too_long(n_prompt_tokens: int, n_context: int) -> InputTooLong:
    """Returns the error for a prompt that leaves no room to answer, in words that coding agents look for."""
    return InputTooLong(
        f"prompt is too long: {n_prompt_tokens} tokens > {n_context} maximum, tokens with its images; "
        "send a smaller image or a shorter prompt",
        param="prompt",
    )


def holds(token: str, meaning: str) -> InvalidRequest:
    """Returns the error for a text with a token in it that the model would take for something else."""
    return InvalidRequest(
        f"the prompt holds {token}, which stands for {meaning}; leave it out", param="prompt"
    )


def empty() -> InvalidRequest:
    """Returns the error for a raw prompt without a token."""
    return InvalidRequest("the prompt is empty, and this model cannot begin with nothing", param="prompt")


def not_taken(roles: Sequence[Role]) -> InvalidRequest:
    """Returns the error for a conversation that the model's chat template refuses."""
    return InvalidRequest(
        f"the model's chat template does not take this conversation ({', '.join(roles[:8])}): most want "
        "user and assistant by turns, and some no system message",
        param="messages",
    )
