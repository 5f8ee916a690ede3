"""Whisper models in CTranslate2's format, read by faster-whisper's own code, a window at a time.

`backend.py` loads and dispatches; `windows.py` reads the windows of a stream one after another, `chunks.py`
pieces that stand for themselves; `voices.py` says where somebody speaks. See docs/adr/0022-windows.md.
"""

from turbov2.backends.whisper.backend import WhisperBackend

__all__ = ["WhisperBackend"]
