"""One pull of a model at a time, whichever process asks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from turbov2.catalog.weights.progress import Steps
from turbov2.errors import InvalidRequest

_LOOK_S = 0.5  # between two looks at whether the caller still waits


@contextmanager
def held(path: Path, steps: Steps | None) -> Iterator[None]:
    """Inside, nobody else holds `path`. The system frees it when its holder dies.

    `steps` is asked, while another holds it, whether to go on waiting; None: do not wait.

    Raises:
        InvalidRequest: another holds it and `steps` is None.
    """
    from filelock import FileLock, Timeout

    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    while True:
        try:
            lock.acquire(timeout=_LOOK_S if steps else 0)
            break
        except Timeout:
            if steps is None:
                raise InvalidRequest(
                    "This model, or one that shares its files, is being pulled now; stop that pull first."
                ) from None
            steps.check()
    try:
        yield
    finally:
        lock.release()
