"""Speech as text: files window by window or chunk by chunk, with silence or without; and while it is spoken.

Owns how far a file was read and what follows from each answer of the model. Must not know wires.
"""

from turbov2.engine.transcripts.live import Live
from turbov2.engine.transcripts.transcribing import Transcribing

__all__ = ["Live", "Transcribing"]
