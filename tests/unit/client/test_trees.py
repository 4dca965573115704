"""Weights as trees and by name."""

import numpy as np
import pytest

import gradserve as gs

TREE = {"dense": {"kernel": np.ones(2), "bias": 0.5}, "heads": [np.zeros(1), (np.ones(3),)], "scale": np.float32(2)}
FLAT = {"dense/kernel", "dense/bias", "heads/0", "heads/1/0", "scale"}


def test_arrays_are_named_by_their_paths_and_find_their_places_again():
    flat = gs.flatten_weights(TREE)
    assert set(flat) == FLAT
    back = gs.unflatten_weights({name: np.asarray(one) * 2 for name, one in flat.items()}, TREE)
    assert back["dense"]["bias"] == 1.0
    assert isinstance(back["heads"][1], tuple)
    np.testing.assert_array_equal(back["heads"][1][0], [2, 2, 2])


def test_what_is_flat_already_stays_as_it_is():
    flat = {"dense_1/kernel": np.ones(2)}
    assert gs.flatten_weights(flat) == flat


def test_paths_that_meet_are_refused():
    with pytest.raises(gs.InvalidRequest, match="a/b"):
        gs.flatten_weights({"a/b": 1.0, "a": {"b": 2.0}})


def test_an_array_that_is_missing_is_named():
    with pytest.raises(gs.InvalidRequest, match="heads/0"):
        gs.unflatten_weights({"dense/kernel": 1.0, "dense/bias": 1.0}, TREE)
