"""Reading printed text with RapidOCR's networks, on the CPU.

Owns how a page becomes lines: detection, turning, strips, recognition. Their order is `turbov2.pages`'s. The
library is used for its networks' pre- and postprocessing; its weights come from the catalogue, by hash.
"""
