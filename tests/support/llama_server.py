"""Plays bitnet.cpp's llama-server: the same arguments and routes, with the llama.cpp that is installed here.

STAND_IN makes it misbehave: "slow" to start, "failing", "open" to everybody.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from pathlib import Path

SLOW_S = 1.5


def build(folder: Path) -> Path:
    """Returns a folder in which it lies where bitnet.cpp's build puts it."""
    program = folder / "build/bin/llama-server"
    program.parent.mkdir(parents=True)
    script = f"import runpy; runpy.run_path({__file__!r}, run_name='__main__')"
    program.write_text(f"#!{sys.executable}\n{script}\n")
    program.chmod(0o755)
    return folder


def main() -> None:
    parser = argparse.ArgumentParser()
    for flag, name in (
        ("-m", "model"),
        ("-c", "context"),
        ("-np", "slots"),
        ("-t", "threads"),
        ("-ngl", "gpu"),
    ):
        parser.add_argument(flag, dest=name, required=True)
    for flag in ("--host", "--port", "--api-key-file"):
        parser.add_argument(flag, required=True)
    options = parser.parse_args()
    mode = os.environ.get("STAND_IN", "")
    if mode == "failing":
        sys.exit("no such instruction on this machine")
    if mode == "slow":
        time.sleep(SLOW_S)
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path, params.verbosity, params.cache_ram_mib = options.model, 1, 0
    params.n_ctx, params.n_parallel, params.kv_unified = int(options.context), int(options.slots), False
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = int(options.threads)
    params.hostnames, params.port = [options.host], int(options.port)
    if mode != "open":
        params.api_keys = [Path(options.api_key_file).read_text()]
    server = xllamacpp.Server(params)
    signal.sigwait({signal.SIGTERM})
    del server


if __name__ == "__main__":
    main()
