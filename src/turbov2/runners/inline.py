"""InlineRunner: the model in the event loop, for calls shorter than a hop to a thread is worth."""

from __future__ import annotations

from typing import TYPE_CHECKING

from turbov2.backends.protocol import Backend
from turbov2.runners.calls import run_embed, run_tokenize
from turbov2.runners.thread import ThreadRunner
from turbov2.types import DENSE, Inputs, TokenBatch

if TYPE_CHECKING:
    from turbov2.types.embed import FloatMatrix

# A static model takes 0.1 ms for 4,000 characters of known words, 0.8 ms for unknown ones (bench/kernel.py).
# Beyond that a thread costs nothing that shows, keeps other requests quick and uses another core.
INLINE_CHARS = 4_000


class InlineRunner(ThreadRunner):
    """Runs small requests at once, in the caller's own step of the loop; larger ones in threads."""

    def embed_now(self, inputs: Inputs) -> tuple[TokenBatch, FloatMatrix] | None:
        """Returns both steps' results if the inputs are small, else None: they belong in threads.

        Raises: as `tokenize` and `embed`.
        """
        if sum(map(len, inputs)) > INLINE_CHARS:
            return None
        return _run_whole(self._model, self._require_backend(), inputs)

    async def embed_whole(self, inputs: Inputs) -> tuple[TokenBatch, FloatMatrix]:
        """Returns both steps' results, computed one after the other in a thread: one hop, not two.

        Raises: as `tokenize` and `embed`.
        """
        return await self._call(self._compute, _run_whole, inputs)


def _run_whole(model: str, backend: Backend, inputs: Inputs) -> tuple[TokenBatch, FloatMatrix]:
    tokens = run_tokenize(model, backend, inputs)
    vectors = run_embed(model, backend, tokens, DENSE, False).dense
    assert vectors is not None, "dense vectors were asked for. This is a bug."
    return tokens, vectors
