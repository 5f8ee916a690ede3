"""Models that read images and text and write text, with transformers.

Owns their prompts, pixels and decoding. Must not know who asks, or how answers leave.
"""

from turbov2.backends.vision_language.backend import VisionLanguageBackend

__all__ = ["VisionLanguageBackend"]
