"""What Ollama's and our own answers tell beside their results."""

from __future__ import annotations

import msgspec

from turbov2.types import EmbedResult, RerankResult


def timings(result: EmbedResult | RerankResult) -> bytes:
    """Returns the fields of a JSON object, in nanoseconds and tokens.

    `truncated` and `errors` are there only if inputs were cut or failed; Ollama knows neither.
    """
    text = b'"total_duration":%d,"load_duration":%d,"prompt_eval_count":%d' % (
        result.total_ns,
        result.load_ns,
        result.n_tokens,
    )
    if result.truncated:
        text += b',"truncated":%b' % msgspec.json.encode(result.truncated)
    if result.failed:
        text += b',"errors":%b' % msgspec.json.encode(result.failed)
    return text
