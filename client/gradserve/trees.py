"""Weights in dictionaries of dictionaries, as frameworks keep them, and by name, as they travel."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from gradserve.errors import InvalidRequest
from gradserve.tensors import ArrayLike


def flatten_weights(tree: Any) -> dict[str, ArrayLike]:
    """Arrays by the path to them.

    Example:
        >>> gs.flatten_weights({"dense": {"kernel": k, "bias": b}, "heads": [h]})
        {'dense/kernel': k, 'dense/bias': b, 'heads/0': h}

    Args:
        tree: dictionaries, lists and tuples in each other, with arrays in the end.

    Raises:
        InvalidRequest: two arrays would have the same name.
    """
    flat: dict[str, ArrayLike] = {}
    for path, leaf in _leaves(tree, ()):
        name = "/".join(path)
        if name in flat:
            raise InvalidRequest.because("two weights have the same path", field="weights", given=name)
        flat[name] = leaf
    return flat


def unflatten_weights(flat: Mapping[str, ArrayLike], like: Any) -> Any:
    """The tree whose arrays `flat` holds by their paths: the inverse of `flatten_weights`.

    Args:
        flat: arrays by path, such as `GradientResult.gradients`.
        like: a tree of the wanted form; its arrays do not matter.

    Raises:
        InvalidRequest: an array of the tree is missing in `flat`.
    """
    return _build(flat, like, ())


def _leaves(tree: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    if isinstance(tree, Mapping):
        for key, value in tree.items():
            yield from _leaves(value, (*path, str(key)))
    elif isinstance(tree, (list, tuple)):
        for index, value in enumerate(tree):
            yield from _leaves(value, (*path, str(index)))
    else:
        yield path, tree


def _build(flat: Mapping[str, ArrayLike], like: Any, path: tuple[str, ...]) -> Any:
    if isinstance(like, Mapping):
        return {key: _build(flat, value, (*path, str(key))) for key, value in like.items()}
    if isinstance(like, (list, tuple)):
        values = [_build(flat, value, (*path, str(index))) for index, value in enumerate(like)]
        return values if isinstance(like, list) else tuple(values)
    name = "/".join(path)
    if name not in flat:
        raise InvalidRequest.because("an array of the tree is not there", field="flat", expected=name)
    return flat[name]
