"""One tiny embedding application on several HTTP servers: `python -m bench.micro SERVER PORT`.

The application is the same everywhere: msgspec in, the static backend, normalise, orjson out.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from typing import Any

import msgspec
import orjson

from bench import model
from turbov2.engine.vectors import finish
from turbov2.wire.ollama.schema import EmbedBody

_DECODE = msgspec.json.Decoder(EmbedBody).decode
_TYPE = "application/json"
_backend: Any = None


def answer(request: bytes) -> bytes:
    """Returns the response body. An empty request is a probe."""
    if not request:
        return b"ok"
    global _backend
    if _backend is None:
        _backend = model.static_backend()
    body = _DECODE(request)
    texts = [body.input] if isinstance(body.input, str) else body.input
    vectors = finish(_backend.embed(_backend.tokenize(texts or [])), None, True, model.MODEL)
    return b'{"embeddings":%b}' % orjson.dumps(vectors, option=orjson.OPT_SERIALIZE_NUMPY)


async def asgi(scope: dict[str, Any], receive: Callable[..., Any], send: Callable[..., Any]) -> None:
    """The application for ASGI servers."""
    if scope["type"] != "http":
        return
    request = b""
    while True:
        message = await receive()
        request += message.get("body", b"")
        if not message.get("more_body"):
            break
    body = answer(request)
    headers = [(b"content-type", _TYPE.encode()), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def rsgi(scope: Any, protocol: Any) -> None:
    """The application for granian's own interface."""
    if scope.proto != "http":
        return
    body = answer(await protocol())
    protocol.response_bytes(200, [("content-type", _TYPE), ("content-length", str(len(body)))], body)


def _uvicorn(port: int, http: Any, loop: Any) -> None:
    import uvicorn

    uvicorn.run(
        asgi,
        host="127.0.0.1",
        port=port,
        http=http,
        loop=loop,
        lifespan="off",
        access_log=False,
        log_level="warning",
    )


def _granian(port: int, interface: str) -> None:
    from granian import Granian
    from granian.constants import Interfaces, Loops

    Granian(
        f"bench.micro:{interface}",
        address="127.0.0.1",
        port=port,
        interface=Interfaces(interface if interface == "rsgi" else "asginl"),
        loop=Loops.uvloop,
        workers=1,
        log_access=False,
    ).serve()


def _hypercorn(port: int) -> None:
    import uvloop
    from hypercorn.asyncio import serve
    from hypercorn.config import Config

    config = Config()
    config.bind = [f"127.0.0.1:{port}"]
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(asgi, config))  # type: ignore[arg-type]


# name -> (package it needs, how to run it)
SERVERS: dict[str, tuple[str, Callable[[int], None]]] = {
    "uvicorn (httptools, uvloop)": ("uvicorn", lambda port: _uvicorn(port, "httptools", "uvloop")),
    "uvicorn (h11, asyncio)": ("uvicorn", lambda port: _uvicorn(port, "h11", "asyncio")),
    "granian ASGI": ("granian", lambda port: _granian(port, "asgi")),
    "granian RSGI": ("granian", lambda port: _granian(port, "rsgi")),
    "hypercorn (h11, uvloop)": ("hypercorn", _hypercorn),
}


if __name__ == "__main__":
    SERVERS[sys.argv[1]][1](int(sys.argv[2]))
