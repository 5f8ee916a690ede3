"""Small vision-language models with random weights, of the exact classes that the real ones have."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import transformers
from numpy.typing import NDArray
from tokenizers import Tokenizer

from tests.support.tiny_tokenizers import save_tokenizer

Family = Literal["lfm2_vl", "llava"]

# Roles and parts as the makers' templates put them, `<image>` where an image stands.
_TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{% for p in m.content %}"
    "{% if p.type == 'image' %}<image>{% else %}{{ p.text }}{% endif %}{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
_TILES = [f"<|img_row_{row}_col_{column}|>" for row in range(1, 11) for column in range(1, 11)]
_IMAGE_TOKENS = ["<image>", "<|image_start|>", "<|image_end|>", "<|img_thumbnail|>", *_TILES]
# A tenth of the real sizes, so that an image has tens of tokens and not hundreds.
IMAGE_SETTINGS: dict[str, Any] = {
    "image_processor_type": "Lfm2VlImageProcessor",
    "tile_size": 64,
    "min_image_tokens": 2,
    "max_image_tokens": 4,
    "max_tiles": 6,
    "resample": 3,
}
_TEXT: dict[str, Any] = {
    "hidden_size": 64,  # the least that 4-bit blocks fit into
    "intermediate_size": 128,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "initializer_range": 0.5,  # else every token is as likely as any other
    "pad_token_id": 0,
}
_VISION: dict[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "initializer_range": 0.5,
}


def save_vision_model(family: Family, folder: Path) -> Path:
    """Writes a whole checkpoint: weights, tokenizer, template, settings of images. Returns the folder."""
    save_tokenizer("qwen", folder)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.add_special_tokens(_IMAGE_TOKENS)
    tokenizer.post_processor = None
    tokenizer.no_padding()
    tokenizer.no_truncation()
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "chat_template.jinja").write_text(_TEMPLATE)
    torch.manual_seed(11)
    model = (_lfm2_vl if family == "lfm2_vl" else _llava)(tokenizer, folder)
    model.generation_config.eos_token_id = tokenizer.token_to_id("<|im_end|>")
    model.save_pretrained(folder)
    return folder


def _lfm2_vl(tokenizer: Tokenizer, folder: Path) -> Any:
    (folder / "processor_config.json").write_text(
        json.dumps({"processor_class": "Lfm2VlProcessor", "image_processor": IMAGE_SETTINGS})
    )
    text = {**_TEXT, "num_hidden_layers": 3, "layer_types": ["conv", "full_attention", "conv"]}
    config = transformers.Lfm2VlConfig(
        text_config={"model_type": "lfm2", "vocab_size": tokenizer.get_vocab_size(), **text},
        vision_config={"model_type": "siglip2_vision_model", "num_patches": 16, **_VISION},
        image_token_id=tokenizer.token_to_id("<image>"),
        projector_hidden_size=64,
    )
    return transformers.Lfm2VlForConditionalGeneration(config)


def _llava(tokenizer: Tokenizer, folder: Path) -> Any:
    """CLIP's pictures before Qwen2's words: an architecture whose library code needs no torchvision."""
    images = {
        "image_processor_type": "CLIPImageProcessor",
        "size": {"shortest_edge": 32},
        "crop_size": {"height": 32, "width": 32},
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(images))
    (folder / "processor_config.json").write_text(
        json.dumps(
            {
                "processor_class": "LlavaProcessor",
                "patch_size": 16,
                "vision_feature_select_strategy": "default",
                "num_additional_image_tokens": 1,
                "image_token": "<image>",
            }
        )
    )
    text = {"model_type": "qwen2", "vocab_size": tokenizer.get_vocab_size(), "num_hidden_layers": 2, **_TEXT}
    vision = {"model_type": "clip_vision_model", "image_size": 32, "patch_size": 16, **_VISION}
    config = transformers.LlavaConfig(
        text_config=text, vision_config=vision, image_token_id=tokenizer.token_to_id("<image>")
    )
    return transformers.LlavaForConditionalGeneration(config)


def picture(height: int, width: int) -> NDArray[np.uint8]:
    """Returns a picture whose every row and column differs, `[height, width, 3]`."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([x * 7 + y * 3, x * y % 251, x // 9 * 31 + y // 5 * 17], -1).astype(np.uint8)
