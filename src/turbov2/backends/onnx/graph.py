"""One ONNX graph in memory: opened, asked what it is, and run on rows of tokens."""

from __future__ import annotations

import mmap
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from turbov2.backends.onnx.rows import Rows
from turbov2.errors import InferenceFailed, LoadFailed, OutOfMemory

_SUFFIX = "ExecutionProvider"  # of the names that ONNX Runtime gives its providers
_DTYPES = {"tensor(int64)": np.int64, "tensor(int32)": np.int32}
_INPUTS = ("input_ids", "attention_mask", "token_type_ids")
_WARNINGS_OFF = 3  # log level "error"
# Operators that compute with integers, as they stand in the file (onnx/docs/Operators.md, and
# microsoft/onnxruntime docs/ContribOperators.md).
_INTEGER_OPERATORS = (b"DynamicQuantizeLinear", b"MatMulInteger", b"QLinearMatMul", b"QGemm", b"QAttention")
# A graph whose rows do not touch each other gives the same bits, or nearly; one with dynamic quantisation
# differs by several per cent of the largest value (bench/onnx_batches.py).
_MAX_RELATIVE_DIFFERENCE = 1e-4
_N_TRIAL_ROWS, _N_TRIAL_TOKENS = 4, 16
_KEPT_TOKENS = 512  # what a run of more takes is given back when it ends


class Graph:
    """A session on a graph that reads token ids. Thread-safe.

    outputs: the names of what it gives.
    widths: the last dimension of each output.
    are_rows_independent: whether several rows may share a run without changing each other's results.
    """

    def __init__(
        self, path: Path, device: str, n_threads: int, n_vocabulary: int, provider: str | None = None
    ) -> None:
        """Opens the file; each run uses `n_threads` cores. `provider`: None is the device's own.

        Raises: LoadFailed when a provider is missing or does not start, when the file is no graph that this
        version runs, or when the graph reads other inputs than an encoder's.
        """
        self._session = _open(path, device, n_threads, provider)
        self.dtype = _arithmetic(path, self._session)
        # The runtime's arena keeps what the largest run took, and gives it back only at the end of a run that
        # asks for it (onnxruntime_run_options_config_keys.h). Without an arena every run is slower.
        self._shrinking = onnxruntime.RunOptions()
        arena = f"gpu:{device.partition(':')[2] or 0}" if device.startswith("cuda") else "cpu:0"
        self._shrinking.add_run_config_entry("memory.enable_memory_arena_shrinkage", arena)
        self._inputs = {each.name: _DTYPES.get(each.type) for each in self._session.get_inputs()}
        for name, dtype in self._inputs.items():
            if name not in _INPUTS or dtype is None:
                raise LoadFailed(
                    f"the graph wants the input '{name}'; an encoder's are int64 {', '.join(_INPUTS)}"
                )
        self.outputs = tuple(each.name for each in self._session.get_outputs())
        self._try_rows(n_vocabulary)

    def run(self, rows: Rows, names: Sequence[str]) -> list[NDArray[np.float32]]:
        """Returns the outputs `names`, each as float32. Raises: OutOfMemory, InferenceFailed."""
        is_large = rows.ids.size > _KEPT_TOKENS
        try:
            found = self._session.run(list(names), self._feed(rows), self._shrinking if is_large else None)
        except Exception as error:  # the library raises its own classes, not all of them public
            size = f"{len(rows.lengths)} x {rows.ids.shape[1]} tokens"
            if isinstance(error, MemoryError) or "allocate memory" in str(error):
                raise OutOfMemory(f"no memory for {size}: send fewer or shorter texts") from error
            raise InferenceFailed(f"ONNX Runtime could not run the graph on {size}") from error
        return [np.asarray(each, np.float32) for each in found]

    def shrink(self) -> None:
        """Afterwards memory that earlier runs took is free."""
        one = Rows(np.ones((1, 2), np.int32), np.array([2], np.int32))
        self._session.run(None, self._feed(one), self._shrinking)

    def _feed(self, rows: Rows) -> dict[str, NDArray[Any]]:
        zeros = np.zeros(rows.ids.shape, np.bool_)
        types = zeros if rows.types is None else rows.types
        values = {"input_ids": rows.ids, "attention_mask": rows.mask, "token_type_ids": types}
        return {name: values[name].astype(dtype) for name, dtype in self._inputs.items()}

    def _try_rows(self, n_vocabulary: int) -> None:
        """Afterwards `widths` and `are_rows_independent` are known, from rows run alone and together.

        A graph exported for one row only does not run several, so its rows are not independent either.
        Raises: LoadFailed when the graph does not run at all.
        """
        shape = (_N_TRIAL_ROWS, _N_TRIAL_TOKENS)
        ids = np.random.default_rng(0).integers(0, n_vocabulary, shape, np.int32)
        lengths = np.full(_N_TRIAL_ROWS, _N_TRIAL_TOKENS, np.int32)
        try:
            alone = [self.run(Rows(ids[i : i + 1], lengths[:1]), self.outputs) for i in range(len(ids))]
        except InferenceFailed as error:
            message = "the graph does not run on token ids of its own tokenizer: they are not of one model"
            raise LoadFailed(message) from error
        self.widths = dict(zip(self.outputs, (each.shape[-1] for each in alone[0]), strict=True))
        try:
            together = self.run(Rows(ids, lengths), self.outputs)
        except InferenceFailed:
            self.are_rows_independent = False
            return
        self.are_rows_independent = all(
            _is_near(np.concatenate(parts), whole)
            for parts, whole in zip(zip(*alone, strict=True), together, strict=True)
        )


def _open(path: Path, device: str, n_threads: int, provider: str | None) -> onnxruntime.InferenceSession:
    kind, _, index = device.partition(":")
    name = _find_provider(provider or kind)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _WARNINGS_OFF
    options.intra_op_num_threads = n_threads
    # A waiting thread that spins takes the core from whoever would compute on it: with the other of two cores
    # busy, a third of the speed of a single thread was measured (bench/onnx_batches.py).
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    settings = {"device_id": index or "0"} if kind == "cuda" else {}
    try:
        session = onnxruntime.InferenceSession(path, options, providers=[(name, settings)])
    except Exception as error:  # as above
        raise LoadFailed(
            f"the .onnx file is no graph that ONNX Runtime {onnxruntime.__version__} runs"
        ) from error
    # Where a provider's own libraries are missing the runtime goes on with the CPU and only logs it.
    if session.get_providers()[0] != name:
        raise LoadFailed(f"ONNX Runtime has the provider '{_short(name)}' but cannot start it on '{device}'")
    return session


def _find_provider(wanted: str) -> str:
    """Returns ONNX Runtime's name of this provider. Raises: LoadFailed that lists those it has."""
    available: dict[str, str] = {_short(name): name for name in onnxruntime.get_available_providers()}
    if wanted not in available:
        raise LoadFailed(
            f"this ONNX Runtime has no provider '{wanted}', only {', '.join(sorted(available))}: "
            "install the build that has it, such as onnxruntime-gpu for cuda"
        )
    return available[wanted]


def _short(provider: str) -> str:
    return provider.removesuffix(_SUFFIX).lower()


def _arithmetic(path: Path, session: onnxruntime.InferenceSession) -> str:
    """Returns "int8" for a graph that computes with integers, else what its first output is made of.

    Weights that the graph itself turns back into floats are floats: the runtime folds them when it opens it.
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        if any(content.find(name) >= 0 for name in _INTEGER_OPERATORS):
            return "int8"
    return "float16" if session.get_outputs()[0].type == "tensor(float16)" else "float32"


def _is_near(alone: NDArray[np.float32], together: NDArray[np.float32]) -> bool:
    if alone.shape != together.shape:
        return False
    scale = np.abs(alone).max(initial=0)
    return cast(bool, np.abs(alone - together).max(initial=0) <= _MAX_RELATIVE_DIFFERENCE * scale)
