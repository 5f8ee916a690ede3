"""Uploads that go to a disk: forms in pieces, bare bytes, base64, and their limits."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from turbov2.errors import BodyTooLarge, InvalidRequest, QueueFull
from turbov2.spools import Spools
from turbov2.types import Context
from turbov2.wire._http import Disconnected, Limits, Request
from turbov2.wire._uploads import UploadForm, read_upload

FILE = bytes(range(256)) * 5 + b"\r\n--not the boundary\r\n-"
NAMES = ("file", "audio", "base64")


@pytest.fixture
def spools(tmp_path: Path) -> Iterator[Spools]:
    spools = Spools(tmp_path, 50_000)
    yield spools
    assert spools.n_bytes == 0


def request_of(
    pieces: Iterable[bytes | None], headers: dict[str, str], query: str = "", max_upload: int = 10_000
) -> tuple[Request, list[str]]:
    """Returns a request whose body comes in these pieces, and what it told. None: the client leaves."""
    told: list[str] = []
    left = [*pieces]

    async def receive() -> dict[str, Any]:
        piece = left.pop(0)
        if piece is None:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": piece, "more_body": bool(left)}

    encoded = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    scope = {"headers": encoded, "query_string": query.encode()}
    limits = Limits(max_body_bytes=4_000, max_texts=1, max_text_chars=1, max_upload_bytes=max_upload)
    return Request(scope, receive, Context("r"), limits, lambda: told.append("read")), told


def sent(**parts: Any) -> tuple[bytes, dict[str, str]]:
    """Returns a body and its headers as httpx writes them."""
    request = httpx.Request("POST", "http://x", **parts)
    return request.read(), dict(request.headers)


def cut(body: bytes, n_bytes: int) -> list[bytes]:
    return [body[at : at + n_bytes] for at in range(0, len(body), n_bytes)]


async def read(body: bytes, headers: dict[str, str], spools: Spools, n_bytes: int = 10**6) -> UploadForm:
    request, told = request_of(cut(body, n_bytes) or [b""], headers)
    form = await read_upload(request, NAMES, spools)
    assert told == ["read"]
    return form


def content(form: UploadForm) -> bytes:
    return form.required("file").read(0, 10**9).tobytes()


@pytest.mark.parametrize("n_bytes", [1, 7, 100, 100_000])
async def test_a_form_comes_in_pieces_of_any_size(spools: Spools, n_bytes: int):
    body, headers = sent(
        data={
            "model": "whisper-tiny",
            "timestamp_granularities[]": ["word", "segment"],
            "temperature": "0.5",
        },
        files={"file": ("call é.mp3", FILE, "audio/mpeg")},
    )
    form = await read(body, headers, spools, n_bytes)
    assert content(form) == FILE
    assert form.fields["filename"] == "call é.mp3"
    assert form.text("model") == "whisper-tiny"
    assert form.texts("timestamp_granularities") == ["word", "segment"]
    assert form.number("temperature", 0, 1) == 0.5
    form.close()


async def test_the_other_ways_to_send_a_file(spools: Spools):
    text = base64.b64encode(FILE).decode()
    for ways in (
        {"json": {"file": text, "granularities": ["word"]}},
        {"json": {"audio": f"data:audio/wav;base64,{text}", "granularities": ["word"]}},
        {"files": {"base64": (None, text), "granularities[]": (None, "word")}},
        {"content": FILE, "headers": {"content-type": "audio/wav"}, "params": {"granularities": "word"}},
        {"content": FILE, "headers": {"content-type": "application/octet-stream"}},
    ):
        body, headers = sent(**ways)
        request, _ = request_of([body], headers, query=httpx.QueryParams(ways.get("params", "")).__str__())
        form = await read_upload(request, NAMES, spools)
        assert content(form) == FILE
        assert form.texts("granularities") in ([], ["word"])
        form.close()


async def test_a_request_without_a_file_says_how_to_send_one(spools: Spools):
    for ways in ({"json": {"model": "x"}}, {"files": {"model": (None, "x")}}):
        form = await read(*sent(**ways), spools)
        assert form.text("model") == "x"
        with pytest.raises(InvalidRequest, match="send a form with a file") as raised:
            form.required("file")
        assert raised.value.param == "file"
        form.close()
    form = await read(*sent(files={"file": ("a.mp3", b"")}), spools)
    with pytest.raises(InvalidRequest, match="0 bytes"):
        form.required("file")
    form.close()


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "two files": ({"files": [("file", ("a", b"1")), ("audio", ("b", b"2"))]}, "second file, 'audio'"),
    "no boundary": ({"content": b"x", "headers": {"content-type": "multipart/form-data"}}, "no boundary"),
    "nonsense": (
        {"content": b"x", "headers": {"content-type": "multipart/form-data; boundary=b"}},
        "not the",
    ),
    "a long field": ({"files": {"prompt": (None, "x" * 70_000)}}, "prompt has more than 65536 bytes"),
    "a long base64 field": ({"files": {"file": (None, "A" * 4_001)}}, "file has more than 4000 bytes"),
    "many fields": ({"files": {f"f{n}": (None, "x") for n in range(65)}}, "more than 64 fields"),
    "no JSON": ({"content": b"{"}, "not valid JSON"),
    "a URL": ({"json": {"file": "https://example.com/a.mp3"}}, "URLs are not fetched"),
    "no name": (
        {
            "content": b"--b\r\ncontent-disposition: form-data\r\n\r\nx\r\n--b--\r\n",
            "headers": {"content-type": "multipart/form-data; boundary=b"},
        },
        "has no name",
    ),
    "packed": (
        {
            "content": b'--b\r\ncontent-disposition: form-data; name="file"; filename="a"\r\n'
            b"content-transfer-encoding: base64\r\n\r\nAAAA\r\n--b--\r\n",
            "headers": {"content-type": "multipart/form-data; boundary=b"},
        },
        "encoded as base64",
    ),
}


@pytest.mark.parametrize("kind", REFUSED)
async def test_what_cannot_be_read_is_refused_and_leaves_nothing(spools: Spools, kind: str):
    ways, words = REFUSED[kind]
    body, headers = sent(**ways)
    request, _ = request_of([body], headers, max_upload=100_000)
    with pytest.raises(InvalidRequest, match=words):
        await read_upload(request, NAMES, spools)


async def test_a_form_without_its_end_is_refused(spools: Spools):
    body, headers = sent(files={"file": ("a.mp3", FILE)})
    for n_bytes in (len(body) - 4, len(body) // 2, 10):
        request, _ = request_of([body[:n_bytes]], headers)
        with pytest.raises(InvalidRequest, match="cut short"):
            await read_upload(request, NAMES, spools)


async def test_too_many_bytes_are_refused_when_they_are_known(spools: Spools):
    body, headers = sent(files={"file": ("a.mp3", bytes(10_001))})
    request, _ = request_of([], headers)  # nothing of the body is read
    with pytest.raises(
        BodyTooLarge, match=r"the limit is 10000; send a shorter file.*TURBOV2_AUDIO_MAX_UPLOAD"
    ):
        await read_upload(request, NAMES, spools)
    headers.pop("content-length")
    request, told = request_of([*cut(body, 5_000), b"never read"], headers)
    with pytest.raises(BodyTooLarge, match="more than 10000 bytes"):
        await read_upload(request, NAMES, spools)
    assert told == []
    request, _ = request_of([b"x" * 4_001], {"content-type": "application/json"})
    with pytest.raises(BodyTooLarge, match="the limit is 4000"):
        await read_upload(request, NAMES, spools)


async def test_a_client_that_leaves_leaves_nothing(spools: Spools):
    body, headers = sent(files={"file": ("a.mp3", FILE)})
    request, _ = request_of([body[:500], None], headers)
    with pytest.raises(Disconnected):
        await read_upload(request, NAMES, spools)


async def test_without_room_on_disk_uploads_wait_outside(tmp_path: Path):
    spools = Spools(tmp_path, 1_400)
    body, headers = sent(files={"file": ("a.mp3", FILE)})
    with spools.open() as other:
        other.append(bytes(200))
        with pytest.raises(QueueFull):
            await read(body, headers, spools)
    (await read(body, headers, spools)).close()
    assert spools.n_bytes == 0
