"""Each way in which n8n's HTTP Request node sends a body, and the bytes that it then sends."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import msgspec

from tests.support import n8n_requests as n8n
from tests.support.n8n_requests import Part, Target
from tests.support.n8n_workflows import Node, http_request, node
from tests.support.recorder import Sent

FILE_NAME = 'Zoë\'s "last" page.png'
NOTE = 'Zoë\'s "quote" €'
UNPACKED = "$('Unpack').first().json.packed"
_FILE = "={{ Object.values($('Webhook').first().binary)[0] }}"

UNPACK = node(
    "Unpack",
    "extractFromFile",
    1,
    {
        "operation": "binaryToPropery",  # so it is spelt there
        "binaryPropertyName": "={{ Object.keys($binary)[0] }}",
        "destinationKey": "packed",
        "options": {},
    },
)


class Way(msgspec.Struct, frozen=True):
    """body: the node's settings; built: where it goes and the file → what is sent; status: the answer's."""

    path: str
    body: dict[str, Any]
    built: Callable[[Target, bytes], Sent]
    status: int = 200

    def node(self, name: str, base_url: str) -> Node:
        """Returns the node; it takes every status for an answer."""
        options = {"response": {"response": {"fullResponse": True, "neverError": True}}}
        return http_request(name, base_url + self.path, self.body, options)


def page(payload: bytes, name: str = "file", file_name: str | None = FILE_NAME) -> Part:
    """Returns the part of a form that is the file."""
    return Part(name, payload, "image/png", file_name)


def _form(*fields: dict[str, str]) -> dict[str, Any]:
    return {"contentType": "multipart-form-data", "bodyParameters": {"parameters": list(fields)}}


def _file(name: str) -> dict[str, str]:
    return {"parameterType": "formBinaryData", "name": name, "inputDataFieldName": _FILE}


def _text(name: str, value: str) -> dict[str, str]:
    return {"parameterType": "formData", "name": name, "value": value}


def _fields(**values: str) -> dict[str, Any]:
    return {"bodyParameters": {"parameters": [{"name": name, "value": values[name]} for name in values]}}


def _packed(payload: bytes) -> str:
    return base64.b64encode(payload).decode()


def _uri(payload: bytes) -> str:
    return f"data:image/png;base64,{_packed(payload)}"


_CLASSIFY = "/api/classify"
_URI = f"=data:image/png;base64,{{{{ {UNPACKED} }}}}"
WAYS = {
    "a form with a file": Way(_CLASSIFY, _form(_file("file")), lambda to, file: n8n.form(to, page(file))),
    "another name of its field": Way(
        _CLASSIFY, _form(_file("data")), lambda to, file: n8n.form(to, page(file, "data"))
    ),
    "fields beside the file": Way(
        _CLASSIFY,
        _form(_file("file"), _text("page", "={{ 1 }}"), _text("note", NOTE)),
        lambda to, file: n8n.form(to, page(file), Part("page", b"1"), Part("note", NOTE.encode())),
    ),
    "a form with a data URI": Way(
        _CLASSIFY,
        _form(_text("image", _URI)),
        lambda to, file: n8n.form(to, Part("image", _uri(file).encode())),
    ),
    "a form without a field": Way(_CLASSIFY, _form(), lambda to, _: n8n.form(to), 400),
    "JSON with a data URI": Way(
        _CLASSIFY, _fields(image=_URI), lambda to, file: n8n.sent_json(to, {"image": _uri(file)})
    ),
    "JSON with base64": Way(
        _CLASSIFY,
        _fields(image=f"={{{{ {UNPACKED} }}}}"),
        lambda to, file: n8n.sent_json(to, {"image": _packed(file)}),
    ),
    "JSON of an expression": Way(
        "/api/rerank",
        {"specifyBody": "json", "jsonBody": "={{ ({query: 'Zoë €', documents: ['a', 'b'], top_k: 1}) }}"},
        lambda to, _: n8n.sent_json(to, {"query": "Zoë €", "documents": ["a", "b"], "top_k": 1}),
    ),
    "JSON with a number that is a text": Way(
        "/api/embed",
        _fields(input="x", dimensions="64"),
        lambda to, _: n8n.sent_json(to, {"input": "x", "dimensions": "64"}),
        400,
    ),
    "the bare file": Way(
        _CLASSIFY,
        {"contentType": "binaryData", "inputDataFieldName": _FILE},
        lambda to, file: n8n.file(to, file, "image/png"),
    ),
    "a URL-encoded form": Way(
        _CLASSIFY,
        {"contentType": "form-urlencoded", **_fields(image=_URI)},
        lambda to, file: n8n.url_encoded(to, image=_uri(file)),
        400,
    ),
}
