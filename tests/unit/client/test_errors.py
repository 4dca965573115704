"""The tree of exceptions."""

import pickle

import pytest

import gradserve as gs
from gradserve import errors

CLASSES = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, gs.GradserveError)]
LEAVES = [one for one in CLASSES if one is not gs.GradserveError]


@pytest.mark.parametrize("kind", CLASSES)
def test_the_tree_at_the_top_of_the_file_names_every_class(kind):
    assert kind.__name__ in errors.__doc__
    assert getattr(gs, kind.__name__) is kind


@pytest.mark.parametrize("kind", LEAVES)
def test_exceptions_are_direct_children_and_survive_pickling(kind):
    error = kind("the message", reason="R", code="C", field="batch.x", given="1", metadata={"a": "b"})
    copy = pickle.loads(pickle.dumps(error))
    assert gs.GradserveError in kind.__bases__
    assert type(copy) is kind
    assert str(copy) == "the message"
    assert vars(copy) == vars(error)


@pytest.mark.parametrize(
    ("kind", "builtin"),
    [
        (gs.InvalidRequest, ValueError),
        (gs.DeadlineExceeded, TimeoutError),
        (gs.MissingExtra, ImportError),
    ],
)
def test_some_are_builtin_exceptions_as_well(kind, builtin):
    with pytest.raises(builtin, match="the message"):
        raise kind("the message")


def test_a_local_error_reads_like_one_of_the_server():
    error = gs.InvalidRequest.because(
        "the shape does not fit", field="batch.x", given="[3]", expected="[4]", hint="Transpose it."
    )
    assert str(error) == "batch.x: the shape does not fit: given [3], expected [4]. Transpose it."
    assert (error.field, error.given, error.expected) == ("batch.x", "[3]", "[4]")
    assert error.hint == "Transpose it."


def test_what_was_given_is_cut_short():
    assert len(str(gs.InvalidRequest.because("no", given="x" * 10_000))) < 300
