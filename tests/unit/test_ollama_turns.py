"""Results of tools and the calls that they are of, in conversations of any length."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from turbov2.wire._http import Limits
from turbov2.wire.ollama.chat import parse_chat

LIMITS = Limits(max_body_bytes=64 << 20, max_texts=1, max_text_chars=1000, max_upload_bytes=0)
N_CALLS = 20_000


@pytest.mark.parametrize(
    "tool", [{"tool_name": "cat"}, {"tool_name": "ls"}, {}], ids=["other", "same", "none"]
)
def test_many_results_find_their_calls_soon(tool: dict[str, str]) -> None:
    calls = [{"function": {"name": "ls", "arguments": {"n": n}}} for n in range(N_CALLS)]
    messages: list[dict[str, Any]] = [
        {"role": "user", "content": "go"},
        {"role": "assistant", "tool_calls": calls},
        *({"role": "tool", "content": str(n), **tool} for n in range(N_CALLS)),
    ]
    body = json.dumps({"model": "any", "messages": messages}).encode()
    began_s = time.process_time()
    asked = parse_chat(body, LIMITS)
    assert time.process_time() - began_s < 5  # it was half a minute
    assert asked.request is not None
    results = asked.request.messages[2:]
    assert len({result.call_id for result in results}) == (1 if tool.get("tool_name") == "cat" else N_CALLS)
