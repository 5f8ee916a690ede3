"""Models that are none, for residency: loads and unloads last as long as a test says, and are noted."""

from __future__ import annotations

import asyncio

from turbov2.catalog import ModelSpec, PathWeights
from turbov2.errors import TurboError
from turbov2.residency import Residency

MB = 1_000_000


def spec_of(name: str, mb: int = 10) -> ModelSpec:
    return ModelSpec(name, "embed", "fake", "inline", PathWeights("x"), host_bytes=mb * MB)


class FakeHeld:
    """Closing it waits for `world.close_s`, or for `may_close` where a test drives it by hand."""

    def __init__(self, world: World, spec: ModelSpec, n_bytes: int) -> None:
        self.world = world
        self.spec = spec
        self.n_bytes = n_bytes
        self.is_alive = True
        self.is_closing = False
        self.holders = 0
        self.may_close: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def host_bytes(self) -> int:
        return self.n_bytes

    async def close(self, grace_s: float) -> None:
        assert not self.is_closing, "closed twice"
        assert self.world.is_ending or not self.is_alive or not self.holders, "closed while it is held"
        self.is_closing = True
        if self.world.is_manual:
            await self.may_close
        else:
            await asyncio.sleep(self.world.close_s)
        self.world.held.remove(self)
        self.world.unloads.append(self.spec.name)


class World:
    """All that is loaded or loading. Checks at every load that its room is free and that it is the only one.

    is_manual: loads and unloads end when the test says so, else after `load_s` and `close_s`.
    """

    def __init__(
        self,
        budget_mb: int = 100,
        *,
        keep_alive_s: float = 60.0,
        load_timeout_s: float = 1000.0,
        is_manual: bool = False,
    ) -> None:
        self.budget_bytes = budget_mb * MB
        self.residency: Residency[FakeHeld] = Residency(
            self._load, self.budget_bytes, keep_alive_s, load_timeout_s
        )
        self.load_s = 1.0
        self.close_s = 0.5
        self.growth_mb = 0
        self.failures: dict[str, list[BaseException]] = {}  # by name: what its next loads raise
        self.is_manual = is_manual
        self.is_ending = False
        self.loading: dict[str, asyncio.Future[None]] = {}
        self.held: list[FakeHeld] = []
        self.loads: list[str] = []  # names, as their loads started
        self.unloads: list[str] = []  # names, as they were gone
        self._reserved_bytes: dict[str, int] = {}

    def real_bytes(self) -> int:
        return sum(held.n_bytes for held in self.held) + sum(self._reserved_bytes.values())

    async def _load(self, spec: ModelSpec) -> FakeHeld:
        name = spec.name
        assert name not in self.loading, f"{name} is loaded twice at a time"
        assert all(held.spec.name != name for held in self.held), f"{name} is loaded beside itself"
        assert self.residency.committed_bytes() <= self.budget_bytes
        if not self.growth_mb:  # else residency learns a step later how much another load took
            assert self.real_bytes() + spec.host_bytes <= self.budget_bytes, "its room is not free yet"
        self.loads.append(name)
        self.loading[name] = asyncio.get_running_loop().create_future()
        self._reserved_bytes[name] = spec.host_bytes
        try:
            await (self.loading[name] if self.is_manual else asyncio.sleep(self.load_s))
            if self.failures.get(name):
                raise self.failures[name].pop(0)
        finally:
            del self.loading[name], self._reserved_bytes[name]
        held = FakeHeld(self, spec, spec.host_bytes + self.growth_mb * MB)
        self.held.append(held)
        return held

    async def end(self) -> None:
        self.is_ending = True
        await self.residency.close()
        assert not self.residency.residents()
        assert not self.held
        assert self.residency.committed_bytes() == 0


class Call:
    """One request: waits for the model, holds it until told to go, and writes down how it ended."""

    def __init__(self, world: World, spec: ModelSpec, keep_alive_s: float | None = None) -> None:
        self.spec = spec
        self.held: FakeHeld | None = None
        self.may_go: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.outcomes: list[str] = []
        self._entered: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.error: Exception | None = None
        self._world = world
        self._keep_alive_s = keep_alive_s
        self.task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        try:
            async with self._world.residency.lease(self.spec.name, self.spec, self._keep_alive_s) as held:
                self.held = held
                held.holders += 1
                self._entered.set_result(None)
                try:
                    await self.may_go
                finally:
                    held.holders -= 1
                    self.held = None
            self.outcomes.append("answered")
        except (TurboError, OSError) as error:
            self.error = error
            self.outcomes.append("failed")
        except asyncio.CancelledError:
            self.outcomes.append("cancelled")
            raise

    async def enter(self) -> Call:
        """Returns once it holds its model or has ended."""
        await asyncio.wait([self.task, self._entered], return_when=asyncio.FIRST_COMPLETED)
        return self

    def go(self) -> None:
        if not self.may_go.done():
            self.may_go.set_result(None)

    async def end(self) -> None:
        """Returns once the request has ended, however it did."""
        self.go()
        await asyncio.wait([self.task])
