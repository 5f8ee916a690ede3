"""Builds the site of the documentation: `python -m docs.site`, into build/site.

The pages link to plots, guides and recipes beside docs/, as they do where the repository is read. So what
they need is gathered first, in the same folders; a link that leads nowhere fails the build.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
_PAGES = (
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "docs/**/*.md",
    "docs/images/*",
    "docs/sbom/*",
    "LICENSE",
    "bench/README.md",
    "bench/results/*.png",
    "recipes/*/README.md",
    "compose.yaml",
    "Dockerfile",
    "deploy/**/*",
)


def gather(target: Path) -> None:
    """Afterwards `target` holds the pages and their pictures, and nothing else."""
    shutil.rmtree(target, ignore_errors=True)
    for pattern in _PAGES:
        for page in filter(Path.is_file, ROOT.glob(pattern)):
            copy = target / page.relative_to(ROOT)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(page, copy)


def build() -> int:
    """Returns the exit code of the build, which has told what is wrong."""
    gather(ROOT / "build" / "site-source")
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    command = [sys.executable, "-m", "mkdocs", "build"]
    return subprocess.run(command, cwd=ROOT, env=environment).returncode


if __name__ == "__main__":
    sys.exit(build())
