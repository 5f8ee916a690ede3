"""Large uploads over HTTP: never whole in memory, refused in the family's words, gone with their client."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import uvicorn

from turbov2.errors import TurboError
from turbov2.spools import Spools
from turbov2.types import Context
from turbov2.wire._errors import family_of, render_error
from turbov2.wire._http import Disconnected, Limits, Request, Response, send_response
from turbov2.wire._uploads import read_upload

pytestmark = pytest.mark.timeout(120)
BOUNDARY = b"edge-of-the-world"
MOST_BYTES = 400 << 20


class Uploads:
    """An application that takes a file and tells how long it was."""

    def __init__(self, folder: Path) -> None:
        self.spools = Spools(folder, 1 << 30)
        self.left = asyncio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        limits = Limits(max_body_bytes=1 << 20, max_texts=1, max_text_chars=1, max_upload_bytes=MOST_BYTES)
        request = Request(scope, receive, Context("r"), limits, lambda: None)
        try:
            form = await read_upload(request, ("file",), self.spools)
            file = form.required("file")
            response = Response(b"%d %s" % (file.n_bytes, file.read(file.n_bytes - 3, 3).tobytes()))
            form.close()
        except TurboError as error:
            response = render_error(error, family_of(scope["path"]))
        except Disconnected:
            self.left.set()
            return
        await send_response(send, response, [], is_head=False)


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[tuple[Uploads, int]]:
    uploads = Uploads(tmp_path)
    config = uvicorn.Config(uploads, port=0, log_level="error", lifespan="off", http="httptools")
    server = uvicorn.Server(config)
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
    task = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110  uvicorn sets no event
        await asyncio.sleep(0.01)
    yield uploads, server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = True
    await task
    assert uploads.spools.n_bytes == 0
    assert list(tmp_path.iterdir()) == []


async def form_of(n_bytes: int) -> AsyncIterator[bytes]:
    """Yields a form with a field and then a file of so many bytes, the last of which are "end"."""
    yield b'--%s\r\ncontent-disposition: form-data; name="model"\r\n\r\ntiny\r\n' % BOUNDARY
    yield b'--%s\r\ncontent-disposition: form-data; name="file"; filename="a.wav"\r\n\r\n' % BOUNDARY
    piece = b"\r\n--edge" * 8192
    for _ in range((n_bytes - 3) // len(piece)):
        yield piece
    yield piece[: (n_bytes - 3) % len(piece)] + b"end\r\n--%s--\r\n" % BOUNDARY


@contextlib.asynccontextmanager
async def watched() -> AsyncIterator[list[int]]:
    """Gives a list whose last item is by how many bytes this process grew at most."""
    process, grown = psutil.Process(), [0]
    before = process.memory_info().rss

    async def look() -> None:
        while True:
            grown.append(max(grown[-1], process.memory_info().rss - before))
            await asyncio.sleep(0.02)

    task = asyncio.create_task(look())
    yield grown
    task.cancel()
    await asyncio.wait({task})


HEADERS = {"content-type": f"multipart/form-data; boundary={BOUNDARY.decode()}"}


async def test_hundreds_of_megabytes_take_a_few_of_memory(served: tuple[Uploads, int]):
    _, port = served
    n_bytes = 300 << 20
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
        await client.post("/x", content=form_of(1000), headers=HEADERS)
        async with watched() as grown:
            answer = await client.post("/x", content=form_of(n_bytes), headers=HEADERS)
    assert answer.content == b"%d end" % n_bytes
    assert grown[-1] < 24 << 20


@pytest.mark.parametrize(
    ("path", "where"),
    [
        ("/v1/audio/transcriptions", ("error", "message")),
        ("/api/transcribe", ("error",)),
        ("/transcribe", ("error",)),
    ],
)
async def test_too_much_is_refused_in_the_words_of_the_family(
    served: tuple[Uploads, int], path: str, where: tuple[str, ...]
):
    _, port = served
    headers = {**HEADERS, "content-length": str(MOST_BYTES + 1)}
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    lines = [f"POST {path} HTTP/1.1", "host: x", *(f"{name}: {value}" for name, value in headers.items())]
    writer.write("\r\n".join([*lines, "", ""]).encode())  # and none of the body
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 413 ")
    length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
    said: Any = httpx.Response(413, content=await reader.readexactly(length)).json()
    for name in where:
        said = said[name]
    assert f"{MOST_BYTES + 1} bytes, the limit is {MOST_BYTES}; send a shorter file" in said
    assert "TURBOV2_AUDIO_MAX_UPLOAD" in said
    writer.close()


async def test_an_upload_whose_client_leaves_is_gone(served: tuple[Uploads, int]):
    uploads, port = served
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"POST /x HTTP/1.1\r\nhost: x\r\ncontent-length: {100 << 20}\r\n".encode())
    writer.write(f"content-type: {HEADERS['content-type']}\r\n\r\n".encode())
    pieces = form_of(20 << 20)
    async for piece in pieces:
        writer.write(piece)
        await writer.drain()
        if uploads.spools.n_bytes > 5 << 20:
            break
    await pieces.aclose()  # type: ignore[attr-defined]
    writer.transport.abort()
    await asyncio.wait_for(uploads.left.wait(), 10)
    assert uploads.spools.n_bytes == 0
    assert not await reader.read()
