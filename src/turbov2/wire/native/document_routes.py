"""Documents over HTTP: whole, page by page as they are read, or as a job."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from pathlib import Path

import msgspec
from msgspec.structs import replace

from turbov2.engine.protocol import Engine
from turbov2.errors import CapacityError, MediaTooLarge
from turbov2.jobs import Jobs, Reached, Unit
from turbov2.types import Context, DocumentRequest, PageResult
from turbov2.wire._http import Request, Response
from turbov2.wire._media import read_media
from turbov2.wire.native.documents import parse_document, render_page
from turbov2.wire.native.jobs import render_status
from turbov2.wire.native.page_stream import page_stream
from turbov2.wire.native.streams import stream_kind

JOB_KIND = "document"
_MAX_ANSWER_BYTES = 64 << 20
_DOCUMENT = msgspec.json.Decoder(DocumentRequest)

Pages = AsyncGenerator[PageResult, None]


class DocumentJobs:
    """The kind of job that reads a document; a unit is a page, kept as clients get it."""

    name = JOB_KIND

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def run(
        self, asked: bytes, payload: Path, reached: Reached, context: Context
    ) -> AsyncGenerator[Unit, None]:
        """Yields the pages that are not done; see JobKind."""
        content = await asyncio.to_thread(payload.read_bytes)
        request = replace(_DOCUMENT.decode(asked), payload=content, first=reached.n_done)
        async with aclosing(self._engine.documents(request, context)) as pages:
            async for page in pages:
                yield Unit(render_page(page), page.n_wanted)


class DocumentRoutes:
    """The handler of POST /api/documents."""

    def __init__(self, engine: Engine, jobs: Jobs) -> None:
        self._engine = engine
        self._jobs = jobs

    async def documents(self, request: Request) -> Response:
        """POST /api/documents. Pages with route, text, tables, chunks, vectors; or a job that makes them."""
        form = await read_media(request, ("file", "document", "image", "base64"))
        asked = parse_document(form)
        if form.flag("job", False):
            return await self._begin_job(asked, request.context)
        pages = self._engine.documents(asked, request.context)
        kind = stream_kind(request, form)
        if kind is None:
            return Response(await _whole(pages))
        return await page_stream(pages, render_page, kind)

    async def _begin_job(self, asked: DocumentRequest, context: Context) -> Response:
        with suppress(CapacityError):  # for room the job waits
            await self._engine.check_documents(asked)
        wanted = msgspec.json.encode(replace(asked, payload=b""))
        status = await self._jobs.submit(JOB_KIND, context.key_id, wanted, asked.payload)
        where = f"/api/jobs/{status.id}".encode()
        body = msgspec.json.encode(render_status(status))
        return Response(body, status=202, headers=[(b"location", where)])


async def _whole(pages: Pages) -> bytes:
    """Returns the answer with all pages. Raises: MediaTooLarge when it would be too long to be sent whole."""
    lines: list[bytes] = []
    n_bytes = 0
    last = None
    async with aclosing(pages):
        async for last in pages:
            lines.append(render_page(last))
            n_bytes += len(lines[-1])
            if n_bytes > _MAX_ANSWER_BYTES:
                limit = f"the answer has more than {_MAX_ANSWER_BYTES} bytes"
                raise MediaTooLarge(f"{limit}; send stream=true, job=true, or fewer pages")
    assert last is not None, "a document has a page. This is a bug."
    head = msgspec.json.encode({"format": last.format, "page_count": last.n_pages})
    return head[:-1] + b',"pages":[%b]}' % b",".join(lines)
