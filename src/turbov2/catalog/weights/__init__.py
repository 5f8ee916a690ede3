"""Weights on this machine: find them, fetch them, check them, remove them.

Owns the manifests, the pulls from a model hub or a package index and the checks on every file. Must not
know what a model does, how it is run, or who asks for it.
"""

from turbov2.catalog.weights.installed import Installed
from turbov2.catalog.weights.progress import PullCancelled
from turbov2.catalog.weights.source import source_text
from turbov2.catalog.weights.store import WeightsStore

__all__ = ["Installed", "PullCancelled", "WeightsStore", "source_text"]
