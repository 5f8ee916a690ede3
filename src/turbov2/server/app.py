"""The ASGI application: one call per request, from scope to sent response.

Everything that holds for all routes happens here, in this order: request id, host, key, route, body limit
(on reading), handler, error body, log line and counters. There is no middleware stack on this path.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Sequence

from turbov2.engine.protocol import Engine
from turbov2.errors import DeadlineExceeded, InvalidRequest, Stopping, TurboError, UpgradeRequired
from turbov2.jobs import JobLimits, Jobs
from turbov2.obs.logs import AccessLog, HandledRequest, begin_request
from turbov2.obs.meters import Meters
from turbov2.obs.tracing import RequestSpan, Tracer
from turbov2.server.auth import Keys
from turbov2.server.console import console_routes
from turbov2.server.cors import Origins, with_cors
from turbov2.server.headers import Wishes, lane_of, read_headers, timeout_s_of
from turbov2.server.hosts import Hosts
from turbov2.server.metrics import MetricsPage
from turbov2.server.routing import Router
from turbov2.server.watch import Watch
from turbov2.settings import Settings
from turbov2.spools import SPOOL_FOLDER, Spools
from turbov2.types import Context
from turbov2.wire import anthropic, cohere, native, ollama, openai, rerank, tei
from turbov2.wire._errors import family_of, render_error
from turbov2.wire._http import (
    SWITCHED,
    Disconnected,
    Limits,
    Receive,
    Request,
    Response,
    Route,
    Scope,
    Send,
    send_response,
)
from turbov2.wire._live import LivePlaces
from turbov2.wire._sockets import Socket

logger = logging.getLogger(__name__)

_STOPPED = Stopping("the server is stopping; send the request again, to another", retry_after_s=5)
_EXPIRED = DeadlineExceeded("the request's time limit passed before it was done, and it was stopped")
_TRACES_GRACE_S = 2.0  # to send what was recorded last
_CLIENT_LEFT = 499  # nginx's and Ollama's number for it; never sent, only logged
Asgi = Callable[[Scope, Receive, Send], "asyncio.Future[None]"]


def make_jobs(engine: Engine, settings: Settings) -> Jobs:
    """Returns the jobs of this server, which the engine works on."""
    limits = JobLimits(settings.jobs_at_once, settings.job_bytes, settings.job_age_s)
    return Jobs(settings.home_path, limits, native.job_kinds(engine))


def build_app(
    engine: Engine, settings: Settings, meters: Meters, tracer: Tracer | None = None, jobs: Jobs | None = None
) -> Asgi:
    """Returns the application. Engine and jobs are started and stopped by the ASGI lifespan.

    `meters` and `tracer` are those that the engine tells of its work.
    """
    app = App(engine, settings, meters, tracer, jobs or make_jobs(engine, settings))
    return with_cors(app, settings.cors_origins)  # type: ignore[return-value]


class App:
    """Routes requests to the wires and answers for what they raise."""

    def __init__(
        self, engine: Engine, settings: Settings, meters: Meters, tracer: Tracer | None, jobs: Jobs
    ) -> None:
        self._engine = engine
        self._jobs = jobs
        self._limits = Limits(
            settings.max_body_bytes,
            settings.max_texts,
            settings.max_text_chars,
            settings.audio_max_upload_bytes,
        )
        self._request_timeout_s = settings.request_timeout_s
        self._keys = Keys(settings.api_keys(), settings.open_paths)
        self._hosts = Hosts(settings.host, settings.allowed_hosts)
        self._origins = Origins(settings.cors_origins)
        self._meters = meters
        self._tracer = tracer
        self._access = AccessLog(settings.log_format == "json") if settings.access_log else None
        self._router = Router(_routes(engine, settings, MetricsPage(meters, engine), jobs))
        self._warn_if_open(settings.host)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One HTTP request, one WebSocket, or the server's lifespan."""
        if scope["type"] == "http":
            await self._answer(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "websocket":
            await receive()
            scope["method"] = "GET"  # as every handshake has
            await self._answer(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        started_ns = time.perf_counter_ns()
        wishes = read_headers(scope)
        handled = begin_request(wishes.request_id)
        span = self._begin_span(scope, wishes, started_ns)
        watch = Watch(receive)
        socket = None
        if scope["type"] == "websocket":
            socket = Socket(receive, send, watch.leave, scope["subprotocols"])
        request = Request(scope, receive, Context(wishes.request_id), self._limits, watch.start, socket)
        status, n_bytes = _CLIENT_LEFT, 0
        try:
            response = await self._handle(request, wishes, watch, span)
            status = response.status
            n_bytes = await self._send(request, send, response)
        except Disconnected:
            status = _CLIENT_LEFT
        except asyncio.CancelledError:
            if socket is not None and socket.was_closed_well:
                status = SWITCHED.status
            elif not watch.has_left:
                error = _EXPIRED if watch.has_expired else _STOPPED
                status = error.status
                n_bytes = await self._send_last(send, request, error)
        finally:
            watch.stop()
            self._note(request, status, started_ns, n_bytes, handled)
            if span is not None:
                span.end(_route_name(request), status, wishes.request_id)

    def _begin_span(self, scope: Scope, wishes: Wishes, started_ns: int) -> RequestSpan | None:
        if self._tracer is None:
            return None
        return self._tracer.request(
            scope["method"], scope["path"], started_ns, wishes.traceparent, wishes.tracestate
        )

    async def _send_last(self, send: Send, request: Request, error: TurboError) -> int:
        """Returns the bytes of the answer to a request that was cut; one whose answer has begun just ends."""
        response = render_error(error, request.family, request.context.request_id)
        with contextlib.suppress(Exception):  # the connection may be in any state
            if request.socket is not None and request.socket.is_accepted:
                await request.socket.fail(error)
            return await self._send(request, send, response)
        return 0

    async def _handle(
        self, request: Request, wishes: Wishes, watch: Watch, span: RequestSpan | None
    ) -> Response:
        """Returns the handler's response, or the error's in the shape of the path's family."""
        scope = request.scope
        request.family = family_of(scope["path"])
        try:
            self._hosts.check(scope)
            if request.socket is not None:
                self._origins.check(scope)
            key_id = self._keys.check(scope)
            traceparent = span.traceparent if span is not None else ""
            request.context = Context(wishes.request_id, key_id, lane_of(wishes.lane), traceparent)
            request.route, request.path_rest = self._router.find(scope["method"], scope["path"])
            default_s = 0.0 if request.route.is_unbounded else self._request_timeout_s
            watch.limit(timeout_s_of(wishes.timeout, default_s))
            request.family = request.route.family
            _check_upgrade(request.route, request.socket)
            return await request.route.handler(request)
        except TurboError as error:
            return await self._failed(request, error)
        except Disconnected:
            raise
        except Exception:
            logger.exception("request %s failed", request.context.request_id)
            return await self._failed(request, TurboError("internal error; the server's log says why"))

    async def _failed(self, request: Request, error: TurboError) -> Response:
        """Returns the error's response; a WebSocket that was accepted is told of it and closed."""
        if request.socket is not None and request.socket.is_accepted:
            await request.socket.fail(error)
        return render_error(error, request.family, request.context.request_id)

    async def _send(self, request: Request, send: Send, response: Response) -> int:
        scope, request_id = request.scope, request.context.request_id
        if request.socket is not None:
            if request.socket.is_accepted:
                await request.socket.close()
                return request.socket.n_bytes_sent
            send = _before_upgrade(send)
        encoded = request_id.encode("latin-1")
        headers = [(b"x-request-id", encoded), (b"request-id", encoded)]
        return await send_response(send, response, headers, is_head=scope["method"] == "HEAD")

    def _note(
        self, request: Request, status: int, started_ns: int, n_bytes: int, handled: HandledRequest
    ) -> None:
        seconds = (time.perf_counter_ns() - started_ns) / 1e9
        self._meters.http.answered(_route_name(request), status, seconds)
        if self._access is not None:
            scope, context = request.scope, request.context
            self._access.write(
                scope["method"],
                scope["path"],
                status,
                seconds * 1000,
                n_bytes,
                context.request_id,
                context.key_id,
                handled.fields,
            )
        handled.end()

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        self._meters.lag.start()
        try:
            await self._engine.start()
        except TurboError as error:
            await send({"type": "lifespan.startup.failed", "message": error.message})
            return
        await self._jobs.start()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self._jobs.stop()
        await self._engine.stop()
        self._meters.lag.stop()
        if self._tracer is not None:
            await self._tracer.stop(_TRACES_GRACE_S)
        if self._access is not None:
            self._access.flush()
        await send({"type": "lifespan.shutdown.complete"})

    def _warn_if_open(self, host: str) -> None:
        if not self._keys.are_required and not self._hosts.is_loopback(host):
            logger.warning("listening on %s without a key: anyone who reaches this port may use it; "
                           "set EMBEDDINGS_API_KEY", host)  # fmt: skip


def _check_upgrade(route: Route, socket: Socket | None) -> None:
    """Raises: UpgradeRequired, InvalidRequest when one of the two is a WebSocket and the other is not."""
    if route.is_socket and socket is None:
        raise UpgradeRequired(f"{route.path} is a WebSocket; connect to it as one")
    if socket is not None and not route.is_socket:
        raise InvalidRequest(f"{route.path} is no WebSocket; send an HTTP request")


def _before_upgrade(send: Send) -> Send:
    """Returns how a WebSocket that was not accepted is answered: by HTTP."""
    return lambda message: send({**message, "type": f"websocket.{message['type']}"})


def _route_name(request: Request) -> str:
    return request.route.path if request.route is not None else "unknown"


def _routes(engine: Engine, settings: Settings, metrics: MetricsPage, jobs: Jobs) -> Sequence[Route]:
    uploads = Spools(settings.home_path / SPOOL_FOLDER, settings.audio_disk_bytes)
    places = LivePlaces(settings.live_sessions, settings.live_idle_s)
    return [
        *ollama.routes(engine, settings.default_embed_model),
        *openai.routes(engine, settings.default_embed_model, uploads, places),
        *anthropic.routes(engine),
        *cohere.routes(engine, settings.default_embed_model),
        *rerank.routes(engine, settings.default_rerank_model),
        *tei.routes(engine, settings.default_embed_model, settings.default_rerank_model),
        *native.routes(engine, settings.default_embed_model, settings.default_rerank_model, jobs, uploads),
        *native.live_routes(engine, places),
        Route("/metrics", ("GET",), metrics.render, "native"),
        *(console_routes() if settings.console else ()),
    ]
