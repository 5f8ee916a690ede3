"""Which models exist, what they are called and where their weights come from.

Owns `models.toml`, name resolution and the weights on disk (`weights/`). Must not know how a model is
run, who asks for it, or what is in memory.
"""

from turbov2.catalog.catalog import Catalog
from turbov2.catalog.serving import Serving
from turbov2.catalog.spec import (
    Golden,
    HubWeights,
    ModelSpec,
    PackageMember,
    PackageWeights,
    PathWeights,
    RemoteWeights,
)

__all__ = [
    "Catalog",
    "Golden",
    "HubWeights",
    "ModelSpec",
    "PackageMember",
    "PackageWeights",
    "PathWeights",
    "RemoteWeights",
    "Serving",
]
