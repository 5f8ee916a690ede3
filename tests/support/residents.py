"""Models that are none, on a machine that is none: loads, unloads and memory do what a test says."""

from __future__ import annotations

import asyncio
from typing import Any

from turbov2.catalog import ModelSpec, PathWeights
from turbov2.errors import TurboError
from turbov2.residency import HOST, Footprints, Pool, Residency
from turbov2.types import MemoryEvent

UNIT = 1_150_000  # bytes; what is estimated as 1 MB, with the margin that estimates get
CUDA: Pool = "cuda:0"


def spec_of(name: str, units: int = 10, cuda_units: int = 0, **fields: Any) -> ModelSpec:
    """Returns a model whose estimate is exact: it takes so many UNITs."""
    sizes = {"host_bytes": units * 1_000_000, "device_bytes": cuda_units * 1_000_000}
    return ModelSpec(name, "embed", "fake", "inline", PathWeights("x"), **sizes, **fields)


def honest_bytes(spec: ModelSpec) -> dict[Pool, int]:
    """Returns what the model takes when nothing goes wrong."""
    sizes = {HOST: spec.host_bytes // 1_000_000 * UNIT, CUDA: spec.device_bytes // 1_000_000 * UNIT}
    return {pool: n_bytes for pool, n_bytes in sizes.items() if n_bytes}


class FakeHeld:
    """A loaded model. `bytes` is what it really takes, until it is closed and its memory came back."""

    def __init__(self, world: World, spec: ModelSpec, bytes_: dict[Pool, int]) -> None:
        self.world = world
        self.spec = spec
        self.bytes = bytes_
        self.is_alive = True
        self.was_abandoned = False
        self.is_closing = False
        self.holders = 0
        self.may_close: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def measure(self) -> dict[Pool, int]:
        self.world.n_measured += 1
        return dict(self.bytes)

    async def close(self, grace_s: float) -> None:
        self.world.require(not self.is_closing, "closed twice")
        may_close = self.world.is_ending or not self.is_alive or not self.holders
        self.world.require(may_close, "closed while it is held")
        self.is_closing = True
        if self.world.is_manual:
            await self.may_close
        else:
            await asyncio.sleep(self.world.close_s)
        if self.world.lingers_s:
            asyncio.get_running_loop().call_later(self.world.lingers_s, self.give_back)
        else:
            self.give_back()
        self.world.unloads.append(self.spec.name)

    def give_back(self) -> None:
        """Afterwards its memory is back."""
        self.bytes = {}
        if self in self.world.held:
            self.world.held.remove(self)


class FakeMemory:
    """The machine: what it has, less what models and others take."""

    def __init__(self, world: World, budgets: dict[Pool, int]) -> None:
        self._world = world
        self._budgets = budgets
        self.total_bytes = {pool: 100 * n_bytes for pool, n_bytes in budgets.items()}
        self.others: dict[Pool, int] = {}  # what other programs take
        self.margins: dict[Pool, int] = {}

    def budgets(self) -> dict[Pool, int]:
        return dict(self._budgets)

    def margin_bytes(self, pool: Pool) -> int:
        return self.margins.get(pool, 0)

    def available_bytes(self, pool: Pool) -> int:
        taken = self.others.get(pool, 0) + self._world.taken_bytes(pool)
        return self.total_bytes.get(pool, 0) - taken

    def process_bytes(self, pid: int) -> dict[Pool, int]:
        raise AssertionError("residency measures models, not processes")


class World:
    """All that is loaded or loading. Checks at every load that its room is free and that it is the only one.

    Residency turns what its models raise into errors of requests, so `problems` keeps what was found; `end`
    and whoever else looks fails on it.

    is_manual: loads and unloads end when the test says so, else after `load_s` and `close_s`.
    """

    def __init__(
        self,
        budget: int = 100,
        cuda_budget: int = 100,
        *,
        keep_alive_s: float = 60.0,
        load_timeout_s: float = 1000.0,
        is_manual: bool = False,
        footprints: Footprints | None = None,
    ) -> None:
        self.budgets = {HOST: budget * UNIT, CUDA: cuda_budget * UNIT}
        self.memory = FakeMemory(self, self.budgets)
        self.footprints = footprints or Footprints(None)
        self.events: list[MemoryEvent] = []
        self.residency: Residency[FakeHeld] = Residency(
            self,
            self.memory,
            keep_alive_s=keep_alive_s,
            load_timeout_s=load_timeout_s,
            footprints=self.footprints,
            on_event=self.events.append,
        )
        self.size_s = 0.0
        self.load_s = 1.0
        self.close_s = 0.5
        self.lingers_s = 0.0  # from the end of `close` until memory is back
        self.growth = 0  # UNITs of the host that loads take beyond their estimate
        self.failures: dict[str, list[BaseException]] = {}  # by name: what its next loads raise
        self.is_manual = is_manual
        self.is_honest = True  # False once some model takes more than it should
        self.is_ending = False
        self.loading: dict[str, asyncio.Future[None]] = {}
        self.held: list[FakeHeld] = []  # until their memory is back
        self.sized: list[str] = []
        self.loads: list[str] = []  # names, as their loads started
        self.unloads: list[str] = []  # names, as they were closed
        self.n_measured = 0
        self.problems: list[str] = []
        self._growing: dict[str, dict[Pool, int]] = {}  # what loads in progress took already

    def taken_bytes(self, pool: Pool) -> int:
        """Returns what models really take: it appears while they load and goes some time after they end."""
        growing = sum(bytes_.get(pool, 0) for bytes_ in self._growing.values())
        return growing + sum(held.bytes.get(pool, 0) for held in self.held)

    def require(self, is_true: bool, problem: str) -> None:
        if not is_true:
            self.problems.append(problem)

    def keeps_budgets(self) -> bool:
        return all(self.taken_bytes(pool) <= n_bytes for pool, n_bytes in self.budgets.items())

    async def size(self, spec: ModelSpec) -> dict[Pool, int]:
        self.sized.append(spec.name)
        if self.size_s:
            await asyncio.sleep(self.size_s)
        return {HOST: spec.host_bytes, CUDA: spec.device_bytes}

    async def load(self, spec: ModelSpec) -> FakeHeld:
        name, bytes_ = spec.name, honest_bytes(spec)
        self.require(name not in self.loading, f"{name} is loaded twice at a time")
        living = [held for held in self.held if not held.is_closing]
        self.require(all(held.spec.name != name for held in living), f"{name} is loaded beside itself")
        if self.is_honest and not self.growth:
            for pool, budget in self.budgets.items():
                taken = self.taken_bytes(pool) + bytes_.get(pool, 0)
                self.require(self.residency.committed_bytes(pool) <= budget, f"too much promised in {pool}")
                self.require(taken <= budget, f"room for {name} is not free in {pool}")
        self.loads.append(name)
        self.loading[name] = asyncio.get_running_loop().create_future()
        try:
            self._growing[name] = {pool: n_bytes // 2 for pool, n_bytes in bytes_.items()}
            await (self.loading[name] if self.is_manual else asyncio.sleep(self.load_s / 2))
            self._growing[name] = bytes_
            if not self.is_manual:
                await asyncio.sleep(self.load_s / 2)
            if self.failures.get(name):
                raise self.failures[name].pop(0)
        finally:
            del self.loading[name], self._growing[name]
        held = FakeHeld(self, spec, bytes_ | {HOST: bytes_.get(HOST, 0) + self.growth * UNIT})
        self.held.append(held)
        return held

    def crash(self, held: FakeHeld, reason: str = "ended (signal 9)") -> None:
        """What a runner does when its process dies: the memory is free at once."""
        held.is_alive = False
        held.bytes = {}
        self.residency.died(held.spec.name, reason)

    async def end(self) -> None:
        self.is_ending = True
        await self.residency.close()
        assert not self.problems, self.problems
        assert not self.residency.residents()
        assert all(held.is_closing for held in self.held)
        assert all(self.residency.committed_bytes(pool) == 0 for pool in self.budgets)


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
