"""Which waiting items form the next batch: a pure function."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from turbov2.types import EmbedBatch

CHARS_PER_TOKEN = 4  # of English text under common tokenizers


class Cost(msgspec.Struct, frozen=True):
    """What an item adds to a padded batch. Characters stand for tokens until they are counted."""

    n_inputs: int
    longest: int  # characters of its longest input; token ids count as the characters they stand for

    @classmethod
    def of(cls, batch: EmbedBatch) -> Cost:
        """Returns the cost of one request's inputs."""
        longest = max(map(len, batch.inputs), default=0)
        return cls(len(batch.inputs), longest if _is_text(batch) else longest * CHARS_PER_TOKEN)


def take_next(waiting: Sequence[tuple[EmbedBatch, Cost]], max_cost: int) -> tuple[int, ...]:
    """Returns the positions of `waiting` that run next, rising: the first, and those that fit beside it.

    The padded cost of a batch is its longest input times its inputs. Items share a batch only if they
    agree on truncation and on being text or token ids. The first item always runs, whatever it costs.
    """
    if not waiting:
        return ()
    first, first_cost = waiting[0]
    taken = [0]
    n_inputs, longest = first_cost.n_inputs, first_cost.longest
    for position in range(1, len(waiting)):
        if (n_inputs + 1) * longest > max_cost:
            break  # not even an empty text fits
        batch, cost = waiting[position]
        grown = (n_inputs + cost.n_inputs) * max(longest, cost.longest)
        if grown <= max_cost and _can_share(first, batch):
            taken.append(position)
            n_inputs, longest = n_inputs + cost.n_inputs, max(longest, cost.longest)
    return tuple(taken)


def _can_share(one: EmbedBatch, other: EmbedBatch) -> bool:
    return one.truncate == other.truncate and _is_text(one) == _is_text(other)


def _is_text(batch: EmbedBatch) -> bool:
    return not batch.inputs or isinstance(batch.inputs[0], str)
