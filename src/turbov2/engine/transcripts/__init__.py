"""Files with speech as text: window by window or chunk by chunk, with silence or without.

Owns how far a file was read and what follows from each answer of the model. Must not know wires.
"""

from turbov2.engine.transcripts.transcribing import Transcribing

__all__ = ["Transcribing"]
