"""Marks around thoughts and calls, as makers of chat templates use them; a template names its own."""

from __future__ import annotations

from turbov2.types import Tags

THINKING = (Tags("<think>", "</think>"), Tags("[THINK]", "[/THINK]"))
CALLS = (
    Tags("<tool_call>", "</tool_call>"),
    Tags("<|tool_call_start|>", "<|tool_call_end|>"),
    Tags("<|tool_call|>", "<|/tool_call|>"),
    Tags("[TOOL_CALLS]", ""),
    Tags("<|python_tag|>", ""),
)
