"""Requests written by hand are what the protobuf runtime would write."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import gradserve as gs
from gradserve import tensors, wire
from gradserve.v1 import gradient_service_pb2 as service_pb2
from tests.unit.client.test_tensors import arrays

Request = service_pb2.ComputeGradientsRequest


@given(st.dictionaries(st.text(max_size=200), arrays(), max_size=4))
def test_a_map_of_tensors_parses_to_the_same_message(given_arrays):
    ready = {name: tensors.to_array(one, "x") for name, one in given_arrays.items()}
    pieces, headers = wire.tensor_map(Request.BATCH_FIELD_NUMBER, ready)
    expected = Request(batch={name: tensors.to_tensor(one, "x") for name, one in given_arrays.items()})
    assert Request.FromString(wire.join(pieces)) == expected
    assert len(headers) == len(ready)


@given(st.binary(max_size=300), st.integers(1, 3))
def test_nested_pieces_parse_to_a_submessage(content, depth):
    """`Weights` in a request: fields around bytes, with lengths over one and two digits."""
    pieces: list[wire.Piece] = [wire.field(2, len(content)), content]
    pieces = wire.nested(Request.WEIGHTS_FIELD_NUMBER, pieces)
    request = Request.FromString(wire.join(pieces))
    assert request.weights.safetensors == content
    assert wire.size(pieces) == len(wire.join(pieces))


@given(st.integers(0, 2**40))
def test_varints_have_seven_bits_a_byte(number):
    encoded = wire.varint(number)
    value = sum((byte & 0x7F) << (7 * place) for place, byte in enumerate(encoded))
    assert value == number
    assert all(byte & 0x80 for byte in encoded[:-1])
    assert not encoded[-1] & 0x80


def test_messages_over_the_limit_of_protobuf_are_refused_with_the_numbers():
    # One byte, claimed often: nothing of this size is allocated.
    huge = np.broadcast_to(np.zeros((), np.uint8), (2**31,))
    with pytest.raises(gs.LimitExceeded, match=str(2**31)):
        wire.join([huge])
