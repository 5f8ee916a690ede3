"""Files in requests that may be too large for memory: they go to a disk while they arrive."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import aclosing
from functools import partial
from typing import Any

import msgspec

from turbov2.errors import InvalidRequest
from turbov2.spools import Spool, Spools
from turbov2.wire._body import parse_aside, parse_json
from turbov2.wire._forms import Form, FormReader, is_file_type, media_type
from turbov2.wire._http import Request
from turbov2.wire._media import unpack_file

_JSON = msgspec.json.Decoder(dict[str, Any])
_PIECE_BYTES = 1 << 20  # written at once, in a thread: a disk may be busy


class UploadForm(Form, frozen=True):
    """What a request brought: a file on disk, None if there was none, and all other fields.

    Whoever has it closes it.
    """

    file: Spool | None

    def required(self, name: str) -> Spool:
        """Returns the file. Raises: InvalidRequest that says how to send one."""
        if self.file is None:
            how = "send a form with a file, or JSON with base64 or a data URI"
            raise InvalidRequest(f"{name} is required: {how}", param=name)
        if not self.file.n_bytes:
            raise InvalidRequest(f"{name} is empty: 0 bytes came", param=name)
        return self.file

    def close(self) -> None:
        """Afterwards the file is gone."""
        if self.file is not None:
            self.file.close()


async def read_upload(request: Request, names: Sequence[str], spools: Spools) -> UploadForm:
    """Returns the request's file, which stands under one of `names`, and its fields; as `read_media`.

    A form, or the bare bytes of a file, may have `max_upload_bytes` and no more than a few MB of them are in
    memory; JSON with base64 has the limit of all bodies. Raises: InvalidRequest, BodyTooLarge, QueueFull,
    NoStorage.
    """
    kind = media_type(request.header(b"content-type") or b"")
    spool = await asyncio.to_thread(spools.open)
    try:
        if kind == b"multipart/form-data":
            return await _read_form(request, names, spool)
        if is_file_type(kind):
            await _take_all(request, spool.append)
            return UploadForm(dict(request.query()), spool)
        return await _read_json(request, names, spool)
    except BaseException:
        spool.close()
        raise


async def _read_form(request: Request, names: Sequence[str], spool: Spool) -> UploadForm:
    kind = request.header(b"content-type") or b""
    reader = FormReader(kind, spool.append, names, request.limits.max_body_bytes)
    await _take_all(request, reader.write)
    reader.end()
    if reader.file_text is not None:
        await asyncio.to_thread(_unpack, *reader.file_text, spool)
    elif not reader.has_file:
        spool.close()
        return UploadForm(reader.fields, None)
    return UploadForm(reader.fields, spool)


async def _read_json(request: Request, names: Sequence[str], spool: Spool) -> UploadForm:
    fields = await parse_aside(await request.body(), partial(parse_json, decoder=_JSON))
    name = next((name for name in names if fields.get(name) is not None), None)
    if name is None:
        spool.close()
        return UploadForm(fields, None)
    await asyncio.to_thread(_unpack, fields.pop(name), name, spool)
    return UploadForm(fields, spool)


def _unpack(value: object, name: str, spool: Spool) -> None:
    spool.append(unpack_file(value, name))


async def _take_all(request: Request, take: Callable[[bytes], object]) -> None:
    gathered = bytearray()
    async with aclosing(request.pieces()) as pieces:
        async for piece in pieces:
            gathered += piece
            if len(gathered) >= _PIECE_BYTES:
                await asyncio.to_thread(take, bytes(gathered))
                gathered.clear()
    await asyncio.to_thread(take, bytes(gathered))
