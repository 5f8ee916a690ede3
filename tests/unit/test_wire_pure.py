import json
import struct

import msgspec
import numpy as np
import pybase64
import pytest
from hypothesis import given
from hypothesis import strategies as st

from turbov2.errors import EmptyInput, InvalidRequest, MethodNotAllowed, RouteNotFound, Unauthorized
from turbov2.server.auth import Keys
from turbov2.server.routing import Router
from turbov2.types import EmbedResult
from turbov2.wire._body import parse_json
from turbov2.wire._encoding import Encoding
from turbov2.wire._http import Route
from turbov2.wire._inputs import parse_inputs
from turbov2.wire._keep_alive import parse_keep_alive_s
from turbov2.wire._lines import json_line
from turbov2.wire._vectors import PIECE_FLOATS
from turbov2.wire.ollama.adapt import render_embed
from turbov2.wire.openai.adapt import render_embeddings

ANY = msgspec.json.Decoder(dict)


def joined(body):
    return body if isinstance(body, bytes) else b"".join(body)


def result_of(vectors, truncated=()):
    return EmbedResult("m", vectors, 7, truncated, load_ns=5, total_ns=9)


@pytest.mark.parametrize("shape", [(1, 3), (5, 8), (0, 4), (PIECE_FLOATS // 4 + 3, 4), (2, PIECE_FLOATS + 1)])
def test_rows_are_the_numbers_exactly(shape):
    vectors = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
    again = np.array(
        json.loads(joined(render_embed("m", result_of(vectors))))["embeddings"], np.float32
    ).reshape(shape)
    assert (again == vectors).all()


@pytest.mark.parametrize("n_texts", [1, 2, PIECE_FLOATS // 16 + 5])
@pytest.mark.parametrize("is_base64", [False, True])
def test_openai_data_keeps_order_and_bits(n_texts, is_base64):
    vectors = np.random.default_rng(2).standard_normal((n_texts, 16)).astype(np.float32)
    body = json.loads(joined(render_embeddings("m", result_of(vectors), Encoding(is_base64=is_base64))))
    assert [item["index"] for item in body["data"]] == list(range(n_texts))
    values = [item["embedding"] for item in body["data"]]
    if is_base64:
        values = [struct.unpack("<16f", pybase64.b64decode(value)) for value in values]
    assert (np.array(values, np.float32) == vectors).all()
    assert body["usage"] == {"prompt_tokens": 7, "total_tokens": 7}


def test_ollama_says_what_was_cut_only_when_something_was():
    vectors = np.zeros((2, 2), np.float32)
    assert "truncated" not in json.loads(joined(render_embed("a", result_of(vectors))))
    assert json.loads(joined(render_embed('a"b', result_of(vectors, (1,)))))["truncated"] == [1]
    assert json.loads(joined(render_embed('a"b', result_of(vectors))))["model"] == 'a"b'


@pytest.mark.parametrize(
    ("value", "inputs"),
    [("a", ["a"]), ("", [""]), (["a", ""], ["a", ""]), ([1, 2], [[1, 2]]), ([[1], [2, 3]], [[1], [2, 3]])],
)
def test_openai_inputs(value, inputs):
    assert parse_inputs(value, "input") == inputs


@pytest.mark.parametrize("value", [None, [], ["a", 1], [[1], 2], [[]], [[1], []]])
def test_openai_inputs_that_are_none(value):
    with pytest.raises(EmptyInput if not value or [] in value else InvalidRequest):
        parse_inputs(value, "input")


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        (0, 0),
        (0.0, 0),
        (5, 5),
        (-1, float("inf")),
        ("5m", 300),
        ("-1s", float("inf")),
        (10**400, float("inf")),
    ],
)
def test_keep_alive(value, seconds):
    assert parse_keep_alive_s(value) == seconds


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "missing request body"),
        (b"  \n", "missing request body"),
        (b"{", "not valid JSON"),
        (b"[1]", "Expected `object`"),
        (b'{"a":"\xff"}', "not valid UTF-8"),
        (b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested too deeply"),
    ],
)
def test_bodies_that_are_not_json_objects(body, said):
    with pytest.raises(InvalidRequest, match=said):
        parse_json(body, ANY)


@given(st.text(st.characters(codec=None, categories=("Ll", "Cs", "So")), max_size=8))
def test_lone_surrogates_are_replaced_and_pairs_kept(text):
    body = json.dumps({"a": text}).encode()
    expected = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    assert parse_json(body, ANY) == {"a": expected}


def _scope(*headers, path="/api/embed"):
    return {"path": path, "headers": list(headers)}


@pytest.mark.parametrize(
    "headers",
    [
        [(b"x-api-key", b"k1")],
        [(b"authorization", b"Bearer k2")],
        [(b"authorization", b"bearer  k2 ")],
        [(b"authorization", b"Bearer wrong"), (b"x-api-key", b"k1")],
        [(b"x-api-key", b"wrong"), (b"authorization", b"Bearer k1")],
    ],
)
def test_any_valid_credential_lets_in(headers):
    assert len(Keys(["k1", "k2"], ()).check(_scope(*headers))) == 8


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [(b"authorization", b"Bearer ")],
        [(b"authorization", b"Basic k1")],
        [(b"x-api-key", b"k1 ")],
        [(b"x-api-key", b"K1")],
        [(b"x-api-key", b"\xff")],
    ],
)
def test_anything_else_does_not(headers):
    with pytest.raises(Unauthorized):
        Keys(["k1", "k2"], ("/", "/open/*")).check(_scope(*headers))


def test_open_paths_need_no_key():
    keys = Keys(["k1"], ("/", "/health", "/docs/*"))
    assert [keys.check(_scope(path=path)) for path in ("/", "/health", "/docs/a")] == ["", "", ""]
    for path in ("/healthy", "/api/embed", "/doc", "//"):
        with pytest.raises(Unauthorized):
            keys.check(_scope(path=path))


def _router():
    async def handler(request): ...

    paths = [("/", ("GET",)), ("/a", ("GET",)), ("/b", ("POST", "DELETE")), ("/m/", ("GET",))]
    return Router([Route(path, methods, handler, "native") for path, methods in paths])


@pytest.mark.parametrize(
    ("method", "path", "found"),
    [
        ("GET", "/a", ("/a", "")),
        ("HEAD", "/a", ("/a", "")),
        ("GET", "/a/", ("/a", "")),
        ("DELETE", "/b", ("/b", "")),
        ("GET", "/m/x/y:z", ("/m/", "x/y:z")),
        ("GET", "/", ("/", "")),
    ],
)
def test_routes(method, path, found):
    route, rest = _router().find(method, path)
    assert (route.path, rest) == found


def test_what_is_no_route():
    with pytest.raises(MethodNotAllowed, match="DELETE, POST"):
        _router().find("GET", "/b")
    for path in ("/c", "/a/b", "/A"):
        with pytest.raises(RouteNotFound):
            _router().find("GET", path)


def test_a_json_line_is_one_line_however_lines_are_split() -> None:
    text = 'a\u2028b\u2029c\x85d\n"e\\u2028 🙂'
    line = json_line({"text": text})
    assert line.decode().splitlines() == [line.decode().rstrip("\n")]
    assert json.loads(line) == {"text": text}
