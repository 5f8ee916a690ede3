"""A Whisper model of random weights in CTranslate2's format: quick, repeatable, and talking nonsense."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np

N_MELS = 80
_WIDTH, _N_HEADS, _N_LAYERS = 16, 2, 2
_LANGUAGES = ("en", "fr", "de")
_SPECIALS = (
    "<|endoftext|>",
    "<|startoftranscript|>",
    *(f"<|{language}|>" for language in _LANGUAGES),
    "<|translate|>",
    "<|transcribe|>",
    "<|startoflm|>",
    "<|startofprev|>",
    "<|nospeech|>",
    "<|notimestamps|>",
)
_N_TIMESTAMPS = 1501
_N_WORDS = 1000
_SURENESS = 4.0  # how far apart its probabilities are


def make_whisper(folder: Path, seed: int = 0, *, is_multilingual: bool = True) -> dict[str, str]:
    """Returns the files of a model that knows English, or three languages."""
    import ctranslate2

    folder.mkdir(parents=True, exist_ok=True)
    words = _words() + [""] * is_multilingual  # by that token the library tells them apart
    tokens = [*words, *_SPECIALS, *(f"<|{index * 0.02:.2f}|>" for index in range(_N_TIMESTAMPS))]
    spec = ctranslate2.specs.WhisperSpec(_N_LAYERS, _N_HEADS, _N_LAYERS, _N_HEADS)
    _fill(spec, len(tokens), np.random.default_rng(seed))
    spec.register_vocabulary(tokens)
    first = tokens.index(_SPECIALS[0])
    spec.config.suppress_ids = [tokens.index("<|startoflm|>")]
    spec.config.suppress_ids_begin = [first]
    spec.config.lang_ids = [tokens.index(f"<|{language}|>") for language in _LANGUAGES]
    spec.config.alignment_heads = list(itertools.product(range(_N_LAYERS), range(_N_HEADS)))
    spec.validate()
    spec.optimize(quantization=None)
    spec.save(str(folder))
    folder.joinpath("tokenizer.json").write_text(_tokenizer(words), "utf-8")
    return {path.name: str(path) for path in folder.iterdir()}


def _fill(spec: Any, n_vocabulary: int, random: np.random.Generator) -> None:
    def matrix(*shape: int, scale: float = 1.0) -> np.ndarray:
        return (random.normal(size=shape) * scale / shape[-1] ** 0.5).astype(np.float32)

    def norm(layer: Any) -> None:
        layer.gamma, layer.beta = np.ones(_WIDTH, np.float32), np.zeros(_WIDTH, np.float32)

    def linear(layer: Any, n_out: int, n_in: int, scale: float = 1.0) -> None:
        layer.weight, layer.bias = matrix(n_out, n_in, scale=scale), matrix(n_out, scale=0.1)

    def common(stack: Any, n_positions: int) -> None:
        stack.position_encodings.encodings = matrix(n_positions, _WIDTH)
        norm(stack.layer_norm)
        for layer in stack.layer:
            norm(layer.self_attention.layer_norm)
            linear(layer.self_attention.linear[0], 3 * _WIDTH, _WIDTH)
            linear(layer.self_attention.linear[1], _WIDTH, _WIDTH)
            norm(layer.ffn.layer_norm)
            linear(layer.ffn.linear_0, 4 * _WIDTH, _WIDTH)
            linear(layer.ffn.linear_1, _WIDTH, 4 * _WIDTH)

    common(spec.encoder, 1500)
    common(spec.decoder, 448)
    for conv, n_in in ((spec.encoder.conv1, N_MELS), (spec.encoder.conv2, _WIDTH)):
        conv.weight, conv.bias = matrix(_WIDTH, n_in, 3), matrix(_WIDTH)
    for layer in spec.decoder.layer:
        norm(layer.attention.layer_norm)
        linear(layer.attention.linear[0], _WIDTH, _WIDTH, scale=3.0)
        linear(layer.attention.linear[1], 2 * _WIDTH, _WIDTH, scale=3.0)
        linear(layer.attention.linear[2], _WIDTH, _WIDTH, scale=1.5)
    spec.decoder.embeddings.weight = matrix(n_vocabulary, _WIDTH, scale=4.0)
    linear(spec.decoder.projection, n_vocabulary, _WIDTH, scale=_SURENESS)


def _words() -> list[str]:
    """Returns what text is made of: the letters and signs of prompts, and words with a space before them."""
    signs = [chr(code) for code in range(33, 127)]
    syllables = [a + b for a in "bdfgklmnprst" for b in "aeiou"]
    words = ("Ġ" + "".join(parts) for n in (1, 2, 3) for parts in itertools.product(syllables, repeat=n))
    return [*signs, "Ġ", *(f"Ġ{sign}" for sign in ".,!?-'"), *itertools.islice(words, _N_WORDS)]


def _tokenizer(words: list[str]) -> str:
    """Returns tokenizer.json: byte-level, every word of a prompt spelt, since nothing is merged."""
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    specials = enumerate(_SPECIALS, len(words))
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    return json.dumps(
        {
            "version": "1.0",
            "added_tokens": [
                {"id": index, "content": token, "special": True} | flags for index, token in specials
            ],
            "pre_tokenizer": byte_level,
            "decoder": byte_level,
            "model": {
                "type": "BPE",
                "vocab": {word: index for index, word in enumerate(words)},
                "merges": [],
                "unk_token": "?",
            },
        }
    )
