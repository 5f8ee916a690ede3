"""Serving: Settings → a listening server that drains on SIGTERM."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
import socket
from collections.abc import Iterator

import uvicorn

from turbov2.catalog import Catalog
from turbov2.engine import LocalEngine
from turbov2.jobs import Jobs
from turbov2.obs.meters import Meters
from turbov2.obs.tracing import tracer_from_environment
from turbov2.server.app import build_app, make_jobs
from turbov2.server.connection import MAX_MESSAGE_BYTES, BoundedProtocol, BoundedWebSocket
from turbov2.settings import Settings

_BACKLOG = 2048
_FORCE_EXIT_CHECK_S = 0.25  # how soon a second Ctrl-C is noticed
_COLLECT_EVERY_S = 60.0
_FULL_EVERY = 6  # collections, of which one looks at everything
_PING_S = 20.0
_IDLE_S = 75  # longer than the 60 s after which common proxies drop a connection themselves


def listen(settings: Settings) -> socket.socket:
    """Returns the bound socket, so that a taken port is known before anything is loaded. Raises: OSError."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.bind((settings.host, settings.port))
    bound.listen(_BACKLOG)  # binding alone lets a second server share the port until both listen
    return bound


def raise_descriptor_limit() -> None:
    """Afterwards this process may hold as many connections as the system lets it ask for."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):  # macOS refuses some values it reports
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def spare_the_collector() -> None:
    """Afterwards Python looks for garbage once a minute, and never among what there is now, which stays.

    By itself it looks after so many more objects were made than freed. Beside a long queue, whose items come
    and go at the same rate, the young ones then grow to hundreds of thousands: each look held the event loop
    for 30 to 80 ms, some times a second. Requests leave next to no cycles behind; the rest goes by counting.
    """
    gc.collect()
    gc.freeze()
    gc.disable()
    _collect_later(1)


def _collect_later(number: int) -> None:
    asyncio.get_running_loop().call_later(_COLLECT_EVERY_S, _collect, number)


def _collect(number: int) -> None:
    gc.collect(1 if number % _FULL_EVERY else 2)
    _collect_later(number + 1)


def serve(settings: Settings, catalog: Catalog, bound: socket.socket) -> int:
    """Returns the exit code once the server has drained: 0 after a signal, 3 if it could not start."""
    raise_descriptor_limit()
    meters, tracer = Meters(), tracer_from_environment()
    engine = LocalEngine(catalog, settings, meters, tracer)
    jobs = make_jobs(engine, settings)
    server = _Server(engine, jobs, build_app(engine, settings, meters, tracer, jobs), settings.drain_s)
    with asyncio.Runner(loop_factory=server.config.get_loop_factory()) as runner:
        runner.run(server.serve(sockets=[bound]))
    return 0 if server.started else 3


class _Server(uvicorn.Server):
    """Says "not ready" as soon as the signal comes, and listens on until running requests have ended.

    Uvicorn alone stops listening at once, so a probe would see a refused connection instead of a 503,
    and raises the signal again at the end, which makes a clean stop look like a death.
    """

    def __init__(self, engine: LocalEngine, jobs: Jobs, app: object, drain_s: float) -> None:
        super().__init__(_config(app))
        self._engine = engine
        self._jobs = jobs
        self._drain_s = drain_s

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Afterwards requests are answered."""
        await super().startup(sockets)
        spare_the_collector()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Afterwards SIGINT and SIGTERM ask for a drain; the handlers before come back at the end."""
        before = {
            number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)
        }
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Afterwards running requests have ended, or `drain_s` has passed."""
        self._engine.begin_drain()
        self._jobs.begin_stop()  # they go on with the next start, so nobody waits for them
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + self._drain_s
        while self.server_state.tasks and not self.force_exit and loop.time() < deadline_s:
            await asyncio.wait(set(self.server_state.tasks), timeout=_FORCE_EXIT_CHECK_S)
        await super().shutdown(sockets)


def _config(app: object) -> uvicorn.Config:
    return uvicorn.Config(
        app,  # type: ignore[arg-type]
        loop="auto",
        http=BoundedProtocol,
        ws=BoundedWebSocket,
        ws_max_size=MAX_MESSAGE_BYTES,
        ws_per_message_deflate=False,  # sound does not shrink, and what unpacks to gigabytes would
        # Proxies drop what is silent. Pongs are not waited for: they come behind sound that waits its turn.
        ws_ping_interval=_PING_S,
        ws_ping_timeout=None,
        lifespan="on",
        access_log=False,
        log_config=None,
        log_level="warning",
        server_header=False,
        backlog=_BACKLOG,
        timeout_keep_alive=_IDLE_S,
        timeout_graceful_shutdown=1,  # `shutdown` has waited by then; this is for connections to close
        proxy_headers=False,
    )
