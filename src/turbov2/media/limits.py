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
    """Between a request's way to the child and its answer, for audio its next answer; then the child is
    killed."""
    max_audio_bytes: int = 2 << 30
    max_audio_s: float = 4 * 3600.0
    """Of samples, counted while they are decoded, whatever the file says."""
    max_channels: int = 16
    min_sample_rate_hz: int = 4_000
    """Below it a few bytes make many samples."""
    max_sample_rate_hz: int = 384_000
    max_streams: int = 64
    """Of an audio or video file; only the first with sound is decoded."""

    @property
    def address_space_bytes(self) -> int:
        """What a child may map: interpreter and libraries, two copies of a file, the worst path's pixels."""
        return _INTERPRETER_BYTES + 2 * self.max_bytes + _BYTES_PER_PIXEL * self.max_pixels
