"""How conversations are told to BitNet's own models, whatever their files say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from turbov2.backends.llama_server.prompts import read_template
from turbov2.backends.templates import ChatTemplate

_ARCHITECTURE = "bitnet"  # what those of BitNet's own begin with; others of its kind call themselves llama
_BEGIN, _END = "<|begin_of_text|>", "<|eot_id|>"
# microsoft/BitNet: gpu/tokenizer.py. Templates in converted files differ from it, and models told otherwise
# write both sides of the conversation. Tools are our addition: these models were never told of any.
_SOURCE = """
{{- bos_token }}
{%- if tools %}
    {{- "System: You may call these tools, each by one JSON object with its name and its arguments:\\n" }}
    {%- for tool in tools %}{{ tool.function | tojson }}{{ "\\n" }}{% endfor %}
    {{- "<|eot_id|>" }}
{%- endif %}
{%- for message in messages %}
    {%- set role = "User" if message.role == "tool" else message.role | capitalize %}
    {{- role + ": " + message.content | trim }}
    {%- for call in message.tool_calls or [] %}{{ call.function | tojson }}{% endfor %}
    {{- "<|eot_id|>" }}
{%- endfor %}
{%- if add_generation_prompt %}{{ "Assistant: " }}{% endif %}
"""


def template_of(entries: Mapping[str, Any]) -> ChatTemplate:
    """Returns the template for the model with this header. Raises: LoadFailed."""
    if str(entries.get("general.architecture", "")).startswith(_ARCHITECTURE):
        return ChatTemplate(_SOURCE, _BEGIN, _END)
    return read_template(entries)
