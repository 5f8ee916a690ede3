"""Measurements of TurboV2: what it serves, against what, and where the time goes.

Each section runs by name (`python -m bench http`) and writes `bench/results/<section>.json`; nothing in
`src/` knows of it. See bench/README.md.
"""
