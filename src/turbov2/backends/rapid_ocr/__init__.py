"""Reading printed text with RapidOCR's networks, on the CPU.

Owns how a page becomes lines: detection, turning, strips, recognition. The order of lines is `turbov2.pages`'.
The library is used for its networks' pre- and postprocessing; its weights come from the catalogue, by hash.
"""
