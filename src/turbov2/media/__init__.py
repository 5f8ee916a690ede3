"""Images, documents and sound as pixels, pages and samples, decoded within limits in children.

Owns formats, their limits, and the children. Must not know models, wires or settings. Pillow, PDFium and PyAV
load only in the children.
"""

from turbov2.media.audio_file import AudioFile, OpenFile
from turbov2.media.decoder import Decoder
from turbov2.media.limits import MediaLimits
from turbov2.media.ranges import page_indices
from turbov2.media.results import AudioFacts, Document, Image, Page, PageObjects, Soundness, View

__all__ = [
    "AudioFacts",
    "AudioFile",
    "Decoder",
    "Document",
    "Image",
    "MediaLimits",
    "OpenFile",
    "Page",
    "PageObjects",
    "Soundness",
    "View",
    "page_indices",
]
