"""Prompts in which n8n's reranker node asks an Ollama server how well a document answers a query. Pure.

The node sends one such prompt a document and reads a number from the answer, so a model that ranks serves it
without generating. Its three templates: formatRerankerPrompt of n8n-nodes-ollama-reranker 1.6.2.
"""

from __future__ import annotations

from turbov2.types import RerankRequest, RerankResult

# How a prompt begins, what stands before the query and before the document, how it ends.
_TEMPLATES = (
    ("Task: ", "\n\nQuery: ", "\n\nDocument: ", "\n\nScore:"),
    ("Instruction: ", "\n\nQuery: ", "\n\nDocument: ", "\n\nRelevance:"),
    (
        "<|im_start|>system\nJudge whether the Document meets",
        "\n<Query>: ",
        "\n<Document>: ",
        "<|im_end|>\n<|im_start|>assistant\n<think>",
    ),
)


def parse_judging(prompt: str, model: str, keep_alive_s: float | None) -> RerankRequest | None:
    """Returns the request that the prompt stands for, None for any other prompt.

    The node's instruction is left out: it says what rerankers are trained for, and not all read one.
    """
    for beginning, before_query, before_document, end in _TEMPLATES:
        if prompt.startswith(beginning) and prompt.endswith(end):
            _, _, rest = prompt.removesuffix(end).partition(before_query)
            query, found, document = rest.partition(before_document)
            if found:
                return RerankRequest(model, query, [document], is_normalized=True, keep_alive_s=keep_alive_s)
    return None


def render_judgement(result: RerankResult) -> str:
    """Returns the score in 0..1 as the node reads it: digits, and no exponent."""
    return f"{result.scores[0]:.6f}"
