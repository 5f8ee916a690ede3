"""llama.cpp's own server on a port: `python -m bench.llama_server MODEL PORT N_SLOTS N_CONTEXT N_THREADS`."""

from __future__ import annotations

import sys
import threading

import xllamacpp


def main() -> None:
    """Serves until it is ended; all that is not named is llama.cpp's default."""
    model, port, n_slots, n_context, n_threads = sys.argv[1], *map(int, sys.argv[2:6])
    params = xllamacpp.CommonParams()
    params.model.path, params.port = model, port
    params.n_parallel, params.n_ctx = n_slots, n_slots * n_context
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = n_threads
    params.verbosity = 1
    server = xllamacpp.Server(params)
    threading.Event().wait()
    del server


if __name__ == "__main__":
    main()
