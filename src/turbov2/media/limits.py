"""What one file may cost."""

from __future__ import annotations

import msgspec

_BYTES_PER_PIXEL = 16  # worst path: RGBA, its flattened copy and 16-bit samples being scaled
_INTERPRETER_BYTES = 384 << 20  # 130 MB before any file, and fonts


class MediaLimits(msgspec.Struct, frozen=True):
    """Limits of one file, enforced while it is decoded. Times in seconds."""

    max_bytes: int = 64 << 20
    max_pixels: int = 80_000_000
    """Of an image as its header says, and of a rendered page."""
    max_frames: int = 50
    """Of a moving picture. Its first frame is all that is read, so more are a mistake or an attack."""
    max_pages: int = 2_000
    timeout_s: float = 30.0
    """Between a request's way to the child and its answer; then the child is killed."""

    @property
    def address_space_bytes(self) -> int:
        """What a child may map: interpreter and libraries, two copies of a file, the worst path's pixels."""
        return _INTERPRETER_BYTES + 2 * self.max_bytes + _BYTES_PER_PIXEL * self.max_pixels
