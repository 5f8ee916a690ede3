"""Where a model's weights come from, as one line."""

from __future__ import annotations

from turbov2.catalog.spec import HubWeights, ModelSpec, PackageWeights, RemoteWeights


def source_text(spec: ModelSpec) -> str:
    """Returns "hub:owner/name@revision", "package:name==version", "path:folder" or "remote"."""
    weights = spec.weights
    if isinstance(weights, HubWeights):
        return f"hub:{weights.repo}@{weights.revision or 'main'}"
    if isinstance(weights, PackageWeights):
        return f"package:{weights.distribution}=={weights.version}"
    if isinstance(weights, RemoteWeights):
        return "remote"
    return f"path:{weights.path}"
