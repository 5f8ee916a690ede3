"""Small GGUF models with random weights, written as llama.cpp's own converters write theirs."""

from __future__ import annotations

import json
from pathlib import Path

import gguf
import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from tests.support.tiny_tokenizers import save_tokenizer

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
N_CONTEXT = 512
N_LAYERS = 2
N_KV_HEADS = 2
HEAD_DIM = 16
_WIDTH = 64
_N_HEADS = 4
_FEED_FORWARD = 128
_TILE_PX = 32
_PATCH_PX = 8
_SHUFFLE = 2  # patches on a side that become one token
TOKENS_A_TILE = (_TILE_PX // _PATCH_PX // _SHUFFLE) ** 2
_IMAGE_TOKENS = ["<fake_token_around_image>", "<global-img>"] + [
    f"<row_{row}_col_{column}>" for row in range(1, 4) for column in range(1, 4)
]
CALL_MARKS = ("<|tool_call_start|>", "<|tool_call_end|>")  # control tokens, as LFM2 has them


def save_gguf(
    folder: Path,
    *,
    template: str | None = CHATML,
    bos_id: int | None = None,
    eos_id: int | None = None,
    n_context: int = N_CONTEXT,
    **entries: bool | float,
) -> Path:
    """Writes `model.gguf`, a llama of two layers over a byte-pair vocabulary. Returns its path.

    eos_id: None for `<|im_end|>`. entries: further ones, by their key with `__` for a dot.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "model.gguf"
    tokenizer = make_tokenizer(folder)
    writer = gguf.GGUFWriter(path, "llama")
    _add_shape(writer, tokenizer.get_vocab_size(), n_context)
    _add_vocabulary(writer, tokenizer)
    writer.add_eos_token_id(tokenizer.token_to_id("<|im_end|>") if eos_id is None else eos_id)
    if bos_id is not None:
        writer.add_bos_token_id(bos_id)
    if template is not None:
        writer.add_chat_template(template)
    for key, value in ({"tokenizer__ggml__add_bos_token": False} | entries).items():
        (writer.add_bool if isinstance(value, bool) else writer.add_float32)(key.replace("__", "."), value)
    rng = np.random.default_rng(11)
    for name, shape in _text_shapes(tokenizer.get_vocab_size()).items():
        writer.add_tensor(name, _weights(rng, name, shape))
    return _written(writer, path)


def save_projector(folder: Path) -> Path:
    """Writes `mmproj.gguf`, SmolVLM's eyes: tiles of 32 x 32 pixels of 4 tokens each. Returns its path."""
    path = folder / "mmproj.gguf"
    writer = gguf.GGUFWriter(path, "clip")
    writer.add_clip_has_vision_encoder(True)
    writer.add_clip_projector_type("idefics3")
    writer.add_vision_image_size(_TILE_PX)
    writer.add_vision_preproc_image_size(2 * _TILE_PX)  # of the longer side, once it is cut into tiles
    writer.add_vision_patch_size(_PATCH_PX)
    writer.add_vision_embedding_length(_WIDTH)
    writer.add_vision_feed_forward_length(_FEED_FORWARD)
    writer.add_vision_projection_dim(_WIDTH)
    writer.add_vision_block_count(1)
    writer.add_vision_head_count(_N_HEADS)
    writer.add_vision_attention_layernorm_eps(1e-6)
    writer.add_vision_projector_scale_factor(_SHUFFLE)
    writer.add_vision_use_gelu(True)
    writer.add_vision_image_mean([0.5, 0.5, 0.5])
    writer.add_vision_image_std([0.5, 0.5, 0.5])
    rng = np.random.default_rng(13)
    for name, shape in _vision_shapes().items():
        writer.add_tensor(name, _weights(rng, name, shape))
    return _written(writer, path)


def make_tokenizer(folder: Path) -> Tokenizer:
    """Returns the vocabulary of `save_gguf` as the library `tokenizers` has it, adding nothing to a text."""
    save_tokenizer("qwen", folder)
    settings = json.loads((folder / "tokenizer.json").read_text("utf-8"))
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).unlink()
    vocabulary = settings["model"]["vocab"]
    vocabulary["\u010a\u010a"] = len(vocabulary)  # "\n\n", which SmolVLM puts before an image
    settings["model"]["merges"].append(["\u010a", "\u010a"])
    tokenizer = Tokenizer.from_str(json.dumps(settings))
    tokenizer.add_special_tokens([*_IMAGE_TOKENS, *CALL_MARKS])
    tokenizer.no_padding()
    tokenizer.no_truncation()
    tokenizer.post_processor = None
    return tokenizer


def _add_shape(writer: gguf.GGUFWriter, n_vocabulary: int, n_context: int) -> None:
    writer.add_context_length(n_context)
    writer.add_embedding_length(_WIDTH)
    writer.add_block_count(N_LAYERS)
    writer.add_feed_forward_length(_FEED_FORWARD)
    writer.add_head_count(_N_HEADS)
    writer.add_head_count_kv(N_KV_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(HEAD_DIM)
    writer.add_vocab_size(n_vocabulary)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)


def _add_vocabulary(writer: gguf.GGUFWriter, tokenizer: Tokenizer) -> None:
    special = {id for id, token in tokenizer.get_added_tokens_decoder().items() if token.special}
    ids = range(tokenizer.get_vocab_size())
    model = json.loads(tokenizer.to_str())["model"]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list([tokenizer.id_to_token(id) for id in ids])
    writer.add_token_types([gguf.TokenType.CONTROL if id in special else gguf.TokenType.NORMAL for id in ids])
    writer.add_token_merges([" ".join(pair) for pair in model["merges"]])


def _text_shapes(n_vocabulary: int) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {
        "token_embd.weight": (n_vocabulary, _WIDTH),
        "output_norm.weight": (_WIDTH,),
        "output.weight": (n_vocabulary, _WIDTH),
    }
    for layer in range(N_LAYERS):
        shapes |= {
            f"blk.{layer}.attn_norm.weight": (_WIDTH,),
            f"blk.{layer}.attn_q.weight": (_WIDTH, _WIDTH),
            f"blk.{layer}.attn_k.weight": (N_KV_HEADS * HEAD_DIM, _WIDTH),
            f"blk.{layer}.attn_v.weight": (N_KV_HEADS * HEAD_DIM, _WIDTH),
            f"blk.{layer}.attn_output.weight": (_WIDTH, _WIDTH),
            f"blk.{layer}.ffn_norm.weight": (_WIDTH,),
            f"blk.{layer}.ffn_gate.weight": (_FEED_FORWARD, _WIDTH),
            f"blk.{layer}.ffn_up.weight": (_FEED_FORWARD, _WIDTH),
            f"blk.{layer}.ffn_down.weight": (_WIDTH, _FEED_FORWARD),
        }
    return shapes


def _vision_shapes() -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {
        "v.patch_embd.weight": (_WIDTH, 3, _PATCH_PX, _PATCH_PX),
        "v.patch_embd.bias": (_WIDTH,),
        "v.position_embd.weight": ((_TILE_PX // _PATCH_PX) ** 2, _WIDTH),
        "v.post_ln.weight": (_WIDTH,),
        "v.post_ln.bias": (_WIDTH,),
        "mm.model.fc.weight": (_WIDTH, _WIDTH * _SHUFFLE**2),
    }
    square = ("attn_q", "attn_k", "attn_v", "attn_out")
    for name in square:
        shapes |= {f"v.blk.0.{name}.weight": (_WIDTH, _WIDTH), f"v.blk.0.{name}.bias": (_WIDTH,)}
    for name in ("ln1", "ln2"):
        shapes |= {f"v.blk.0.{name}.weight": (_WIDTH,), f"v.blk.0.{name}.bias": (_WIDTH,)}
    return shapes | {
        "v.blk.0.ffn_up.weight": (_FEED_FORWARD, _WIDTH),
        "v.blk.0.ffn_up.bias": (_FEED_FORWARD,),
        "v.blk.0.ffn_down.weight": (_WIDTH, _FEED_FORWARD),
        "v.blk.0.ffn_down.bias": (_WIDTH,),
    }


def _weights(rng: np.random.Generator, name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Returns ones for norms; else numbers large enough that no token is as likely as any other."""
    if name.endswith("norm.weight") or "ln" in name and name.endswith("weight"):
        return np.ones(shape, np.float32)
    return (rng.standard_normal(shape) * (0.02 if name.endswith("bias") else 0.3)).astype(np.float32)


def _written(writer: gguf.GGUFWriter, path: Path) -> Path:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
