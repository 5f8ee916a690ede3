"""What a model that writes has told."""

from __future__ import annotations

from turbov2.types import Finish, PromptCounted, Written


class Words(list[str]):
    """The pieces of an answer, in their order, and what was told of its prompt."""

    prompt: PromptCounted | None = None

    def take(self, written: Written) -> None:
        """Takes what `generate` tells. Raises: AssertionError for what it must not."""
        if isinstance(written, PromptCounted):
            assert self.prompt is None, "the prompt's length was told twice"
            assert not self, "it was told behind the first words"
            self.prompt = written
        else:
            assert written, "an empty piece"
            self.append(written)

    def check(self, finish: Finish) -> None:
        """Raises: AssertionError where the beginning said other numbers than the end."""
        assert self.prompt == PromptCounted(finish.n_prompt_tokens, finish.n_cached_tokens)
