import pytest

from turbov2 import errors
from turbov2.errors import TurboError, from_fields
from turbov2.wire._errors import family_of, render_error


def _all(root=TurboError):
    yield root
    for child in root.__subclasses__():
        yield from _all(child)


@pytest.mark.parametrize("cls", [c for c in _all() if c.__module__ == "turbov2.errors"])
def test_every_error_survives_a_process_boundary(cls):
    error = cls("what is wrong", param="field", retry_after_s=1.5)
    again = from_fields(error.to_fields())
    assert type(again) is cls
    assert (again.message, again.param, again.retry_after_s) == ("what is wrong", "field", 1.5)


def test_codes_are_unique_among_the_errors_that_are_raised():
    leaves = [c for c in _all() if not c.__subclasses__() and c.__module__ == "turbov2.errors"]
    assert len({leaf.code for leaf in leaves}) == len(leaves)


def test_the_drawn_tree_names_every_class_and_status():
    for cls in _all():
        if cls.__module__ == "turbov2.errors":
            line = next(line for line in errors.__doc__.splitlines() if cls.__name__ in line)
            assert cls in (TurboError,) or cls.__subclasses__() or str(cls.status) in line


@pytest.mark.parametrize(
    ("path", "family"),
    [
        ("/v1/x", "openai"),
        ("/v1/messages", "anthropic"),
        ("/v1/messages/batches", "anthropic"),
        ("/v1/messages2", "openai"),
        ("/api/x", "ollama"),
        ("/", "ollama"),
        ("/healthz", "native"),
        ("/v11", "native"),
        ("/v2/x", "cohere"),
        ("/rerank", "cohere"),
        ("/v1/rerank", "cohere"),
        ("/score", "openai"),
        ("/embed", "tei"),
    ],
)
def test_unrouted_errors_take_the_shape_of_their_path(path, family):
    assert family_of(path) == family


def test_only_errors_worth_repeating_invite_repetition():
    crashed = dict(render_error(errors.RunnerCrashed("gone"), "openai").headers)
    full = dict(render_error(errors.QueueFull("full", retry_after_s=1.2), "openai").headers)
    assert crashed == {b"x-should-retry": b"false"}
    assert full == {b"retry-after": b"2"}
