"""What becomes of the slots of a model that writes: a second turn in one, and one whose client left."""

from __future__ import annotations

import itertools
import statistics
import time
from typing import Any

from bench.stats import spread
from bench.streams import Stream, body_of, stream

SOONER_TARGET, FREED_TARGET_MS = 5.0, 200.0
_QUESTION = "Case {}: tell a very long story about a fox, a crow and the {}. Use many words and many names."
_SENTENCE = "The fox went over the hill and the crow flew to the sea again. "
_SENTENCE_TOKENS = 15
_LONGEST = 2000  # tokens of an answer that nobody reads to its end
_numbers = itertools.count(1)


def questions(model: str, n: int, n_tokens: int) -> list[bytes]:
    """Returns `n` requests for answers of so many tokens, none of which was ever sent before."""
    numbers = itertools.islice(_numbers, n)
    told = (_QUESTION.format(number, ("sea", "moon", "wood", "hill")[number % 4]) for number in numbers)
    return [body_of(model, text, n_tokens) for text in told]


def second_turn(port: int, model: str, n_tokens: int, n_rounds: int) -> dict[str, Any]:
    """Returns how much sooner a second turn begins than a first of about so many tokens, which it repeats."""
    firsts, seconds, n_prompt = [], [], 0
    for _ in range(n_rounds):
        story, answer = _story(n_tokens), ("assistant", "It went well.")
        first = stream(port, [body_of(model, story, 8)])
        second = stream(port, [body_of(model, "And then?", 8, ("user", story), answer)])
        n_prompt = first.n_prompt_tokens
        firsts.append(first.first_s[0] * 1000)
        seconds.append(second.first_s[0] * 1000)
    times = spread([a / b for a, b in zip(firsts, seconds, strict=True)])
    return {
        "prompt_tokens": n_prompt,
        "first_ms": spread(firsts),
        "second_ms": spread(seconds),
        "times": times,
        "met": times["median"] >= SOONER_TARGET,
    }


def left_while_writing(port: int, model: str, n_cancels: int) -> dict[str, Any]:
    """Returns how much later a question is answered behind one whose client left in the middle of the answer.

    model: one with a single slot.
    """
    freed = [_freed_ms(port, model, _story(0), 0.2 + 0.013 * number, True) for number in range(n_cancels)]
    return {"what": "an answer is written", **_found(freed)}


def left_while_reading(port: int, model: str, n_tokens: int, n_cancels: int) -> dict[str, Any]:
    """Returns the same behind one whose client left while its prompt of `n_tokens` was read."""
    reads_s = stream(port, [body_of(model, _story(n_tokens), 1)]).first_s[0]
    moments = [reads_s * (number + 1) / (n_cancels + 2) for number in range(n_cancels)]
    freed = [_freed_ms(port, model, _story(n_tokens), moment_s, False) for moment_s in moments]
    return {"what": f"{n_tokens:,} tokens are read", **_found(freed)}


def _freed_ms(port: int, model: str, text: str, leaves_after_s: float, has_begun: bool) -> float:
    """Returns by how much the next question waits longer. has_begun: the client stays for the first words."""
    alone_ms = statistics.median(_first_ms(port, model) for _ in range(3))
    left = Stream(port, body_of(model, text, _LONGEST))
    left.send()
    while has_begun and not left.first_s and left.receive():
        pass
    time.sleep(leaves_after_s)
    left.sock.close()
    return _first_ms(port, model) - alone_ms


def _first_ms(port: int, model: str) -> float:
    return stream(port, questions(model, 1, 1)).first_s[0] * 1000


def _story(n_tokens: int) -> str:
    """Returns a text that was never sent before."""
    return f"Case {time.time_ns()}: tell a long story. " + _SENTENCE * (n_tokens // _SENTENCE_TOKENS)


def _found(freed_ms: list[float]) -> dict[str, Any]:
    found = spread(freed_ms)
    return {"freed_ms": found, "met": found["max"] <= FREED_TARGET_MS}
