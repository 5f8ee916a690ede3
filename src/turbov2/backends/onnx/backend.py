"""OnnxBackend: a folder with a graph and `tokenizer.json` as an Embedder of texts or of pairs."""

from __future__ import annotations

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated

import msgspec
import numpy as np
from numpy.typing import NDArray

from turbov2.backends.onnx.assembly import Assembly
from turbov2.backends.onnx.graph import Graph
from turbov2.backends.onnx.heads import find_heads
from turbov2.backends.onnx.modules import read_json, read_modules
from turbov2.backends.onnx.rows import Rows, group_rows, take_rows
from turbov2.backends.options import read_options
from turbov2.backends.tokenizer import TextTokenizer
from turbov2.cores import n_cores
from turbov2.errors import LoadFailed
from turbov2.types import DENSE, EmbedTask, Inputs, Loaded, LoadSpec, Outputs, TokenBatch

_MAX_SIDE_BY_SIDE = 4  # runs at once; further cores share the work of one run
# Tokens of one run: on a CPU larger ones are no faster, at 2,048 slower (bench/onnx_batches.py).
_RUN_TOKENS = {"cpu": 512, "cuda": 16_384}
_DROPPED_TOKENS = ("<s>", "</s>", "<pad>", "<unk>", "[CLS]", "[SEP]", "[PAD]", "[UNK]")  # of lexical weights
# Positions that these families leave unused at the start (transformers, create_position_ids_from_input_ids).
_N_RESERVED_POSITIONS = {"xlm-roberta": 2, "roberta": 2, "camembert": 2, "mpnet": 2}

_Positive = Annotated[int, msgspec.Meta(ge=1)]


class OnnxOptions(msgspec.Struct, frozen=True):
    """What `LoadSpec.options` may hold."""

    graph: str = ""  # the .onnx file to load, for folders with several
    threads: _Positive | None = None  # cores to use; None: all this process may use
    provider: str | None = (
        None  # "openvino", "tensorrt", ...: who computes; None: the device's own, cpu or cuda
    )


class OnnxBackend:
    """Implements Embedder. Thread-safe: a session may run in several threads at once.

    On a CPU rows are never padded: those of one length share a run, and runs go side by side on all cores.
    That is as fast as padded batches (bench/onnx_batches.py), and a text's result is the same whatever else
    is in the batch. A graph with dynamic quantisation takes its scales from everything in the run, so there
    each row runs alone; so it does in a graph that was exported for one row.
    `is_precise` changes nothing: a graph computes in the precision it was exported in.
    """

    def __init__(self, spec: LoadSpec) -> None:
        options = read_options(spec, OnnxOptions)
        self._tokenizer = TextTokenizer(_file(spec, "tokenizer.json"))
        cores = options.threads or n_cores()
        self._is_padded = spec.device != "cpu"
        n_runs = 1 if self._is_padded else min(cores, _MAX_SIDE_BY_SIDE)
        self._modules = read_modules(spec.files, spec.pooling)
        path = _graph_file(spec, options.graph)
        self._graph = Graph(
            path, spec.device, cores // n_runs, self._tokenizer.n_vocabulary, options.provider
        )
        self._heads = find_heads(self._graph.outputs)
        self._dropped = [i for token in _DROPPED_TOKENS if (i := self._tokenizer.id_of(token)) is not None]
        self._run_tokens = (
            _RUN_TOKENS[spec.device.partition(":")[0]] if self._graph.are_rows_independent else 0
        )
        self._n_runs = n_runs
        self._threads = ThreadPoolExecutor(n_runs, thread_name_prefix="onnx")
        self.loaded = self._describe(spec)

    def tokenize(self, inputs: Inputs) -> TokenBatch:
        """Returns texts, ids or pairs with the template's special tokens."""
        return self._tokenizer.encode(inputs, self.loaded.max_tokens)

    def embed(
        self,
        tokens: TokenBatch,
        task: EmbedTask = DENSE,
        *,
        is_precise: bool = False,
    ) -> Outputs:
        """Returns the task's outputs, some of `loaded.outputs`; dense `[n, 1]` is a reranker's raw score.

        An input without any tokens has the zero vector, no weights and no token vectors.
        """
        heads = self._heads
        names = heads.needed(task.outputs)
        size = self._graph.widths[heads.tokens] if heads.tokens else 0
        assembly = Assembly(tokens, task.outputs, heads, self.loaded.dimensions or 0, size)

        def compute(indices: NDArray[np.intp]) -> None:
            rows = take_rows(tokens, indices, self._tokenizer.pad_id)
            found = dict(zip(names, self._graph.run(rows, names), strict=True))
            assembly.add(rows, indices, found, self._modules)

        groups = self._group(tokens)
        deque(self._threads.map(compute, groups) if len(groups) > 1 else map(compute, groups), maxlen=0)
        return assembly.finish(self._dropped)

    def free_caches(self) -> None:
        """Afterwards the runtime holds no more memory than a small run needs."""
        self._graph.shrink()

    def close(self) -> None:
        """Afterwards the weights are released."""
        self._threads.shutdown()
        del self._graph

    def _group(self, tokens: TokenBatch) -> list[NDArray[np.intp]]:
        """Returns the rows of each run: enough runs for all threads, none too large."""
        share = -(-len(tokens.ids) // self._n_runs)
        return group_rows(tokens.lengths, min(self._run_tokens, share), is_padded=self._is_padded)

    def _describe(self, spec: LoadSpec) -> Loaded:
        heads, dimensions = self._heads, self._graph.widths[self._heads.dense]
        if heads.score and dimensions != 1:
            raise LoadFailed(f"the graph gives {dimensions} scores a text; a reranker gives one")
        if heads.dense == heads.hidden:
            states = np.zeros((1, 1, dimensions), np.float32)
            one = Rows(np.zeros((1, 1), np.int32), np.ones(1, np.int32))
            dimensions = self._modules.apply(states, one).shape[1]
        return Loaded(
            capabilities=("rerank",) if heads.score else ("embed",),
            dtype=self._graph.dtype,
            dimensions=dimensions,
            max_tokens=_max_tokens(spec),
            pooling=None if heads.score else self._modules.pooling,
            n_vocabulary=self._tokenizer.n_vocabulary,
            outputs=heads.kinds,
            is_padded=self._is_padded,
        )


def _file(spec: LoadSpec, name: str) -> Path:
    if name not in spec.files:
        raise LoadFailed(f"the model folder has no {name}, which a model in ONNX needs")
    return Path(spec.files[name])


def _graph_file(spec: LoadSpec, wanted: str) -> Path:
    graphs = sorted(name for name in spec.files if name.endswith(".onnx"))
    if wanted:
        return _file(spec, wanted)
    if len(graphs) != 1:
        found = f"{len(graphs)} graphs ({', '.join(graphs)})" if graphs else "no .onnx file"
        raise LoadFailed(f"the model folder has {found}: name one with the option 'graph'")
    return Path(spec.files[graphs[0]])


def _max_tokens(spec: LoadSpec) -> int | None:
    """Returns the smallest of the catalogue's limit, Sentence Transformers' and the position table's."""
    config = read_json(spec.files, "config.json") or {}
    sentence = read_json(spec.files, "sentence_bert_config.json") or {}
    positions = config.get("max_position_embeddings")
    if positions is not None:
        positions -= _N_RESERVED_POSITIONS.get(config.get("model_type", ""), 0)
    limits = (spec.max_tokens, sentence.get("max_seq_length"), positions)
    return min((limit for limit in limits if limit is not None), default=None)
