"""POST /api/generate with the prompts of n8n's reranker node: models that rank answer with a number."""

from __future__ import annotations

import httpx
import pytest

from tests.support.server import REAL, Embed, RunningServer, ollama_error

QUERY = "How do cats sleep?"
DOCUMENT = "Cats sleep\n\nQuery: sixteen hours\n\nDocument: a day."
TEMPLATES = [
    "Task: find what answers\n\nQuery: {q}\n\nDocument: {d}\n\nScore:",
    "Instruction: find what answers\n\nQuery: {q}\n\nDocument: {d}\n\nRelevance:",
    "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and the "
    'Instruct provided. Note that the answer can only be "yes" or "no".<|im_end|>\n<|im_start|>user\n'
    "<Instruct>: find\n<Query>: {q}\n<Document>: {d}<|im_end|>\n<|im_start|>assistant\n<think>",
]


def generate(server: RunningServer, prompt: str, model: str = REAL) -> httpx.Response:
    body = {"model": model, "prompt": prompt, "stream": False, "options": {"temperature": 0.0}}
    return server.http.post("/api/generate", json=body)


@pytest.mark.parametrize("template", TEMPLATES)
def test_a_number(server: RunningServer, unit_vectors: Embed, template: str) -> None:
    answer = generate(server, template.format(q=QUERY, d=DOCUMENT))
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert (body["model"], body["done"], body["done_reason"]) == (REAL, True, "stop")
    vectors = unit_vectors([QUERY, DOCUMENT])
    assert float(body["response"]) == pytest.approx((1 + vectors[0] @ vectors[1]) / 2, abs=1e-5)


@pytest.mark.parametrize(
    "prompt", ["What is a cat?", "Task: x\n\nScore:", "Query: a\n\nDocument: b", TEMPLATES[0] + " 1"]
)
def test_any_other_prompt_is_refused(server: RunningServer, prompt: str) -> None:
    assert ollama_error(generate(server, prompt), 400) == f'"{REAL}" does not support generate'


def test_models_that_do_not_rank(server: RunningServer) -> None:
    prompt = TEMPLATES[0].format(q=QUERY, d=DOCUMENT)
    assert generate(server, prompt, "nope").status_code == 404
    assert generate(server, prompt, "whisper-base").status_code >= 400
