"""What the engine tells about models: whether one can run here, what is resident, how a pull goes."""

from __future__ import annotations

import datetime as dt
from typing import Literal

import msgspec

from turbov2.types.memory import Bytes

Availability = Literal["ready", "installed", "absent", "unavailable"]
Ability = Literal["tools", "thinking"]


class ModelStatus(msgspec.Struct, frozen=True):
    """One catalogue entry as it stands on this machine.

    availability: "ready" is loaded; "installed" has its weights here; "absent" would be pulled;
    "unavailable" cannot run here. `reason` and `fix` are empty when nothing is in the way.
    """

    name: str
    aliases: tuple[str, ...]  # other names of the same model
    capability: str
    backend: str
    runner: str
    summary: str
    licence: str
    source: str  # e.g. "hub:owner/name@revision", "package:name==version"
    revision: str
    digest: str  # hex sha256 that identifies the weights; of the source's name while they are absent
    size_bytes: int  # on disk if installed, else the catalogue's estimate
    availability: Availability
    reason: str = ""
    fix: str = ""
    modified_at: dt.datetime | None = None  # when the weights arrived here
    dimensions: int | None = None
    is_matryoshka: bool = False
    max_tokens: int | None = None
    pooling: str | None = None
    dtype: str | None = None  # known once it was loaded
    n_parameters: int | None = None
    query_prompt: str = ""
    document_prompt: str = ""
    abilities: tuple[Ability, ...] = ()  # of a model that writes, where its files were looked at
    stands_in_for: tuple[str, ...] = ()  # names of models that are not here, for which it answers


class ResidentStatus(msgspec.Struct, frozen=True):
    """One resident model: who holds it, how large it is, until when it stays."""

    model: ModelStatus
    state: str  # loading | ready | draining | unloading | failed
    leases: int
    bytes: Bytes  # measured, or reserved while it loads
    estimated_bytes: Bytes  # what its load was given
    loaded_at: dt.datetime
    last_used_at: dt.datetime
    expires_at: dt.datetime | None  # None: stays until evicted or asked to go
    load_s: float
    n_uses: int = 0
    is_pinned: bool = False
    priority: str = "normal"
    queued_items: int = 0  # inputs that wait for a forward
    queued_tokens: int = 0  # of those that are tokenised
    admitted_chars: int = 0  # of all inputs not yet answered
    pid: int = 0  # of the process that holds the weights; 0 while there is none
    failure: str = ""  # why its last load or its process failed
    retry_in_s: float | None = None
    shared_by: tuple[str, ...] = ()  # other names of the catalogue that the same weights answer for

    @property
    def host_bytes(self) -> int:
        """Host memory it takes."""
        return self.bytes.get("host", 0)

    @property
    def device_bytes(self) -> int:
        """Memory it takes on all devices."""
        return sum(self.bytes.values()) - self.host_bytes


class PullProgress(msgspec.Struct, frozen=True):
    """One step of a pull. `file` is empty for steps that concern the whole model."""

    phase: Literal["resolving", "downloading", "verifying", "publishing", "done"]
    file: str = ""
    sha256: str = ""
    total_bytes: int = 0
    done_bytes: int = 0
