"""Small language models with random weights that chat, of the exact classes that the real ones have."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import torch
import transformers
from tokenizers import AddedToken, Tokenizer

from tests.support.chat_templates import TAGS
from tests.support.tiny_tokenizers import save_tokenizer

Family = Literal["qwen2", "llama"]

N_POSITIONS = 512
_MARKS = ["<tool_call>", "</tool_call>", "<think>", "</think>"]
_SIZES: dict[str, Any] = {
    "hidden_size": 64,  # the least that 4-bit blocks fit into
    "intermediate_size": 128,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": N_POSITIONS,
    "initializer_range": 0.5,  # else every token is as likely as any other
}


def save_writer(
    family: Family,
    folder: Path,
    template: str = TAGS,
    *,
    are_marks_special: bool = False,
    tokenizer_family: str = "qwen",
) -> Path:
    """Writes a whole checkpoint: weights, tokenizer, template. Returns the folder.

    are_marks_special: marks of calls and thoughts are special tokens, as some makers have them.
    """
    save_tokenizer(tokenizer_family, folder)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.add_tokens([AddedToken(mark, special=are_marks_special) for mark in _MARKS])
    tokenizer.add_special_tokens(["<|eot_id|>"])
    tokenizer.post_processor = None
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "chat_template.jinja").write_text(template)
    n_vocabulary = tokenizer.get_vocab_size() + 21  # as makers round it up
    config_class, model_class = {
        "qwen2": (transformers.Qwen2Config, transformers.Qwen2ForCausalLM),
        "llama": (transformers.LlamaConfig, transformers.LlamaForCausalLM),
    }[family]
    torch.manual_seed(7)
    model = model_class(config_class(vocab_size=n_vocabulary, tie_word_embeddings=True, **_SIZES))
    end = "<|im_end|>" if tokenizer_family == "qwen" else "<|eot_id|>"
    model.generation_config.eos_token_id = tokenizer.token_to_id(end)
    model.save_pretrained(folder)
    return folder
