"""RemoteRunner: a model that another server runs."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, NoReturn

import msgspec
from msgspec.structs import replace

from turbov2.errors import (
    InvalidRequest,
    LoadFailed,
    NotSupported,
    RemoteFailed,
    RunnerCrashed,
    TurboError,
)
from turbov2.runners.remote import requests
from turbov2.runners.remote.chunks import ChunkReader
from turbov2.runners.remote.client import Client
from turbov2.runners.remote.faults import Faults
from turbov2.runners.remote.options import RemoteOptions, parse_options
from turbov2.types import (
    DENSE,
    EmbedTask,
    Finish,
    GenerateTask,
    Heard,
    ImageNeed,
    ImageTask,
    Inputs,
    Loaded,
    LoadSpec,
    Outputs,
    Piece,
    Seen,
    SpeechTask,
    TokenBatch,
)

if TYPE_CHECKING:
    from turbov2.types.audio import Samples
    from turbov2.types.images import Pixels

_KEY = re.compile(r"[!-~]*")
_LONG_SIDE_PX = 2048  # models behind such APIs see no more of an image


class _Counted(msgspec.Struct):
    count: int


class RemoteRunner:
    """Implements Runner with connections. Loading makes a client; whether the server lives, requests tell."""

    def __init__(self, key: str, *, sees: bool) -> None:
        """key: for the server, empty if it wants none. sees: the model reads images as well as text."""
        self._key = key
        self._sees = sees
        self._model = ""
        self._faults = Faults("", "", ())
        self._options: RemoteOptions | None = None
        self._client: Client | None = None
        self._n_asked = 0
        self._is_free = asyncio.Event()
        self._is_free.set()

    @property
    def is_alive(self) -> bool:
        """True between `start` and `stop`."""
        return self._client is not None

    @property
    def end_reason(self) -> str:
        """Nothing: there is no process that could end."""
        return ""

    @property
    def was_abandoned(self) -> bool:
        """False: there is no process that could be ended."""
        return False

    @property
    def pid(self) -> int:
        """Our own process, which holds the connections."""
        return os.getpid()

    async def start(self, spec: LoadSpec) -> Loaded:
        """Returns what the models file says; the server is not asked. Raises: LoadFailed, by an option."""
        self._model = spec.model
        self._options = parse_options(spec)
        if not _KEY.fullmatch(self._key):  # its bytes would be told by whatever fails on them
            variable = self._options.key_variable
            raise LoadFailed(f"the variable '{variable}' holds what no key has: spaces, or more than ASCII")
        address = self._options.base_url.partition("://")[2].partition("/")[0]
        host = address.rpartition(":")[0] or address
        self._faults = Faults(spec.model, self._options.key_variable, (self._key, host))
        self._client = await asyncio.to_thread(Client, self._options, self._key, self._faults)
        need = ImageNeed(long_side_px=_LONG_SIDE_PX, short_side_px=_LONG_SIDE_PX)
        return Loaded(
            capabilities=("vision" if self._sees else "generate",),
            dtype="remote",
            max_tokens=spec.max_tokens,
            image=need if self._sees else None,
            n_slots=self._options.at_once,
        )

    async def generate(
        self, task: GenerateTask, images: Sequence[Pixels], on_piece: Callable[[Piece], None]
    ) -> Finish:
        """Returns how the answer ended; see Runner. Cancelling closes the connection."""
        began_ns = time.perf_counter_ns()
        first_ns = 0
        with self._asking() as (client, options):
            body = await _made(requests.generate_body, task, images, options)
            reader = ChunkReader(self._faults, task.sampling.max_tokens)
            async with aclosing(client.events(requests.path_of(task), body)) as events:
                async for event in events:
                    for piece in reader.read(event):
                        first_ns = first_ns or time.perf_counter_ns()
                        on_piece(piece)
            calls, finish = reader.end()
            for call in calls:
                on_piece(call)
        ended_ns = time.perf_counter_ns()
        first_ns = first_ns or ended_ns
        return replace(finish, prompt_ns=first_ns - began_ns, output_ns=ended_ns - first_ns)

    async def count(self, task: GenerateTask, images: Sequence[Pixels]) -> int:
        """Returns how many tokens the prompt has, by vLLM's /tokenize. Raises: NotSupported without one."""
        with self._asking() as (client, options):
            body = await _made(requests.count_body, task, images, options)
            try:
                return msgspec.json.decode(await client.json("/tokenize", body), type=_Counted).count
            except (RemoteFailed, InvalidRequest, msgspec.DecodeError) as error:
                raise NotSupported(
                    f"the server that runs model '{self._model}' does not count tokens; it would have to "
                    "have vLLM's /tokenize"
                ) from error

    async def stop(self, grace_s: float) -> None:
        """Afterwards there is no connection; answers still being written after `grace_s` are cut."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(grace_s, 0)):
                await self._is_free.wait()
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    async def free_caches(self) -> None:
        """Nothing is kept."""

    async def tokenize(self, inputs: Inputs) -> TokenBatch:
        """Never called: what a model is for is checked before."""
        self._never()

    async def embed(
        self, tokens: TokenBatch, task: EmbedTask = DENSE, *, is_precise: bool = False
    ) -> Outputs:
        """Never called, as `tokenize`."""
        self._never()

    async def look(self, pixels: Pixels, task: ImageTask) -> Seen:
        """Never called, as `tokenize`."""
        self._never()

    async def listen(self, samples: Samples, task: SpeechTask) -> Heard:
        """Never called, as `tokenize`."""
        self._never()

    @contextlib.contextmanager
    def _asking(self) -> Iterator[tuple[Client, RemoteOptions]]:
        """Gives the client. Raises: RunnerCrashed once it is stopped, also for what was under way."""
        gone = RunnerCrashed(f"model '{self._model}' was stopped; the next request starts it again")
        if self._client is None or self._options is None:
            raise gone
        self._n_asked += 1
        self._is_free.clear()
        try:
            yield self._client, self._options
        except TurboError as error:
            if self._client is None:
                raise gone from error
            raise
        finally:
            self._n_asked -= 1
            if not self._n_asked:
                self._is_free.set()

    def _never(self) -> NoReturn:
        raise AssertionError(f"model '{self._model}' only writes, and that was checked. This is a bug.")


async def _made(
    make: Callable[[GenerateTask, Sequence[Pixels], RemoteOptions], bytes],
    task: GenerateTask,
    images: Sequence[Pixels],
    options: RemoteOptions,
) -> bytes:
    """Returns a request's body; one with images is made in a thread, for packing them takes a while."""
    return await asyncio.to_thread(make, task, images, options) if images else make(task, images, options)
