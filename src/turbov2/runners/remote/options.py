"""How a model's table names the server that runs it."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from turbov2.errors import LoadFailed
from turbov2.types import LoadSpec

# No user and password in it, no query, nothing that could show a secret.
BaseUrl = Annotated[str, msgspec.Meta(pattern=r"^https?://[A-Za-z0-9._\-\[\]:]+(/[A-Za-z0-9._~%\-/]*)?\Z")]
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
Variable = Annotated[str, msgspec.Meta(pattern=r"^([A-Za-z_][A-Za-z0-9_]*)?\Z", max_length=128)]
Seconds = Annotated[float, msgspec.Meta(ge=0.05, le=86_400)]


class RemoteOptions(msgspec.Struct, frozen=True):
    """Where the model is and how patient to be.

    base_url: as clients of such servers take it, with "/v1" where they want it. model: its name there.
    key_variable: the environment variable that holds the key, sent as a bearer token; empty: none is sent.
    max_tokens_field, thinking_field: what that server calls them.
    at_once: answers that it may be asked for at the same time. connect_timeout_s: until it is reached.
    silence_timeout_s: until the answer begins, and between two of its events. timeout_s: the whole answer.
    retries: how often a request is sent again that was not answered.
    """

    base_url: BaseUrl
    model: Name
    key_variable: Variable = ""
    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    thinking_field: Literal["reasoning_effort", "enable_thinking"] = "reasoning_effort"
    at_once: Annotated[int, msgspec.Meta(ge=1, le=4096)] = 64
    connect_timeout_s: Seconds = 5.0
    silence_timeout_s: Seconds = 300.0
    timeout_s: Seconds = 3600.0
    retries: Annotated[int, msgspec.Meta(ge=0, le=10)] = 2


def parse_options(spec: LoadSpec) -> RemoteOptions:
    """Returns the options. Raises: LoadFailed, naming the one at fault, and never its value."""
    fields = {field.name: field for field in msgspec.structs.fields(RemoteOptions)}
    for name in spec.options.keys() - fields.keys():
        raise LoadFailed(f"backend '{spec.backend}' has no option '{name}'; it has {', '.join(fields)}")
    for name, field in fields.items():
        if name not in spec.options and field.required:
            raise LoadFailed(f"model '{spec.model}' lacks the option '{name}' in the models file")
        try:
            msgspec.convert(spec.options.get(name, field.default), field.type)
        except msgspec.ValidationError:
            raise LoadFailed(
                f"option '{name}' of model '{spec.model}' has the wrong type, form or range"
            ) from None
    return msgspec.convert(spec.options, RemoteOptions)
