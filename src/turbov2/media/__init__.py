"""Images and documents as pixels and pages, decoded within limits by child processes that can be killed.

Owns formats, their limits, and the children. Must not know models, wires or settings. Pillow and PDFium load
only in the children.
"""

from turbov2.media.decoder import Decoder
from turbov2.media.limits import MediaLimits
from turbov2.media.ranges import page_indices
from turbov2.media.results import Document, Image, Page, PageObjects, Soundness, View

__all__ = [
    "Decoder",
    "Document",
    "Image",
    "MediaLimits",
    "Page",
    "PageObjects",
    "Soundness",
    "View",
    "page_indices",
]
