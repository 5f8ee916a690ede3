"""InlineRunner: the model in the event loop, for calls shorter than a hop to a thread is worth."""

from __future__ import annotations

from turbov2.runners.thread import ThreadRunner
from turbov2.types import EmbedBatch, EmbedOutput

# 20,000 characters take a static model 0.5 ms with known words and 4 ms with unknown ones (bench/kernel.py);
# beyond that other requests would feel the wait.
INLINE_CHARS = 20_000


class InlineRunner(ThreadRunner):
    """Runs small batches at once, in the caller's own step of the loop; larger ones in threads."""

    async def embed(self, batch: EmbedBatch) -> EmbedOutput:
        """Returns the backend's output without suspending when the batch is small."""
        if batch.n_chars() <= INLINE_CHARS:
            return self._embed_now(batch)
        return await super().embed(batch)
