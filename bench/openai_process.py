"""openai-whisper in an environment of its own: a process that reads files and answers on its standard output.

`python -P openai_process.py WEIGHTS N_THREADS` with a folder of a Whisper model in CTranslate2's format as
float16, which is what OpenAI published; computed in float32, its way on a CPU. A line of standard input is
`{"samples": PATH, "beam_size": N}`, samples an int16 array at 16 kHz as numpy saves it; a line of output has
`text` and `seconds`. Needs nothing of this repository.
"""

from __future__ import annotations

import json
import struct
import sys
import time
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from numpy.typing import NDArray
from whisper.model import ModelDimensions, Whisper

Weights = dict[str, NDArray[Any]]
_DTYPES = {0: "<f4", 1: "i1", 2: "<i2", 3: "<i4", 4: "<f2"}  # as CTranslate2 numbers them
_N_MELS, _HEAD_SIZE = 80, 64  # of all Whisper models up to `medium`


def read(path: Path) -> Weights:
    """Returns the variables of a `model.bin` (CTranslate2, binary version 6)."""
    with path.open("rb") as file:
        if (version := _number(file, "I")) != 6:
            raise SystemExit(f"{path.name} has binary version {version}; only 6 is read here")
        _text(file), _number(file, "I")  # the model's kind and its revision
        return dict(_variable(file) for _ in range(_number(file, "I")))


def _variable(file: IO[bytes]) -> tuple[str, NDArray[Any]]:
    name = _text(file)
    shape = [_number(file, "I") for _ in range(_number(file, "B"))]
    dtype = _DTYPES[_number(file, "B")]
    return name, np.frombuffer(file.read(_number(file, "I")), dtype).reshape(shape)


def _number(file: IO[bytes], form: str) -> int:
    return int(struct.unpack(f"<{form}", file.read(struct.calcsize(f"<{form}")))[0])


def _text(file: IO[bytes]) -> str:
    return file.read(_number(file, "H"))[:-1].decode()


def state_of(weights: Weights) -> Weights:
    """Returns the same weights under the names of OpenAI's own model: nothing is computed, only parted."""
    state = {
        "encoder.positional_embedding": weights["encoder/position_encodings/encodings"],
        "decoder.positional_embedding": weights["decoder/position_encodings/encodings"],
        "decoder.token_embedding.weight": weights["decoder/embeddings/weight"],
    }
    for number in (1, 2):
        for kind in ("weight", "bias"):
            state[f"encoder.conv{number}.{kind}"] = weights[f"encoder/conv{number}/{kind}"]
    for side, last in (("encoder", "ln_post"), ("decoder", "ln")):
        state |= _norm(f"{side}.{last}", weights, f"{side}/layer_norm")
        for number in range(_n_layers(weights, side)):
            state |= _block(f"{side}.blocks.{number}", weights, f"{side}/layer_{number}")
    return state


def _block(name: str, weights: Weights, layer: str) -> Weights:
    state = _norm(f"{name}.attn_ln", weights, f"{layer}/self_attention/layer_norm")
    state |= _norm(f"{name}.mlp_ln", weights, f"{layer}/ffn/layer_norm")
    state |= _linear((f"{name}.mlp.0",), weights, f"{layer}/ffn/linear_0")
    state |= _linear((f"{name}.mlp.2",), weights, f"{layer}/ffn/linear_1")
    parts = tuple(f"{name}.attn.{part}" for part in ("query", "key", "value"))
    state |= _linear(parts, weights, f"{layer}/self_attention/linear_0")
    state |= _linear((f"{name}.attn.out",), weights, f"{layer}/self_attention/linear_1")
    if f"{layer}/attention/linear_0/weight" in weights:
        cross = f"{name}.cross_attn"
        state |= _norm(f"{cross}_ln", weights, f"{layer}/attention/layer_norm")
        state |= _linear((f"{cross}.query",), weights, f"{layer}/attention/linear_0")
        state |= _linear((f"{cross}.key", f"{cross}.value"), weights, f"{layer}/attention/linear_1")
        state |= _linear((f"{cross}.out",), weights, f"{layer}/attention/linear_2")
    return state


def _linear(names: tuple[str, ...], weights: Weights, source: str) -> Weights:
    """Returns the matrices that the source has stacked."""
    state = {}
    for kind in ("weight", "bias"):
        for name, part in zip(names, np.split(weights[f"{source}/{kind}"], len(names)), strict=True):
            if not name.endswith(".key") or kind == "weight":  # keys have no bias there, zeros here
                state[f"{name}.{kind}"] = part
    return state


def _norm(name: str, weights: Weights, source: str) -> Weights:
    return {f"{name}.weight": weights[f"{source}/gamma"], f"{name}.bias": weights[f"{source}/beta"]}


def _n_layers(weights: Weights, side: str) -> int:
    return len({name.split("/")[1] for name in weights if name.startswith(f"{side}/layer_")} - {"layer_norm"})


def load(folder: Path) -> Whisper:
    """Returns OpenAI's model with these weights, in float32."""
    weights = read(folder / "model.bin")
    n_audio, width = weights["encoder/position_encodings/encodings"].shape
    n_text, _ = weights["decoder/position_encodings/encodings"].shape
    n_words, _ = weights["decoder/embeddings/weight"].shape
    n_heads = width // _HEAD_SIZE
    layers = [_n_layers(weights, side) for side in ("encoder", "decoder")]
    model = Whisper(
        ModelDimensions(
            _N_MELS, n_audio, width, n_heads, layers[0], n_words, n_text, width, n_heads, layers[1]
        )
    )
    state = {name: torch.from_numpy(part.astype(np.float32)) for name, part in state_of(weights).items()}
    model.load_state_dict(state)  # strict: nothing is missing, nothing left over
    return model.eval()


def main() -> None:
    """Answers each line until the input ends."""
    torch.set_num_threads(int(sys.argv[2]))
    model = load(Path(sys.argv[1]))
    for line in sys.stdin:
        asked = json.loads(line)
        samples = np.load(asked["samples"]).astype(np.float32) / 32768
        beam_size = asked["beam_size"]
        began_s = time.perf_counter()
        heard = model.transcribe(
            samples, language="en", temperature=0.0, fp16=False,
            beam_size=beam_size if beam_size > 1 else None,
        )  # fmt: skip
        seconds = time.perf_counter() - began_s
        print(json.dumps({"text": heard["text"].strip(), "seconds": seconds}), flush=True)


if __name__ == "__main__":
    main()
