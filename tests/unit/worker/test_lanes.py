import socket
import struct
import threading

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradserve_server.common.specs import Limits
from gradserve_server.worker.lanes import ChildSettings, Kind, Lane, LaneClosed, LaneOverdue, RunRequest, encode


@pytest.fixture
def pair():
    ends = [Lane(end) for end in socket.socketpair()]
    yield ends
    for end in ends:
        end.close()


@pytest.mark.parametrize("size", [0, 1, (64 << 10) - 9, 64 << 10, (64 << 10) + 1, 5 << 20])
def test_frames_of_any_size_arrive_whole(pair, size):
    body = bytes(index % 251 for index in range(1000)) * (size // 1000 + 1)
    body = body[:size]
    sender = threading.Thread(target=pair[0].send, args=(Kind.PREPARE, body))
    sender.start()
    kind, received = pair[1].receive()
    sender.join()
    assert kind is Kind.PREPARE
    assert bytes(received) == body


def test_a_frame_in_pieces_arrives_whole():
    left, right = socket.socketpair()
    with left:
        lane = Lane(right)
        frame = struct.pack("<QB", 3, Kind.DONE) + b"abc"

        def send():
            for index in range(len(frame)):
                left.sendall(frame[index : index + 1])

        sender = threading.Thread(target=send)
        sender.start()
        kind, body = lane.receive()
        sender.join()
        assert (kind, bytes(body)) == (Kind.DONE, b"abc")
        lane.close()


def test_one_lane_carries_many_exchanges(pair):
    def reply():
        for _ in range(200):
            kind, body = pair[1].receive()
            pair[1].send(kind, bytes(body)[::-1])

    thread = threading.Thread(target=reply)
    thread.start()
    for number in range(200):
        pair[0].send(Kind.RUN, b"%d." % number)
        assert bytes(pair[0].receive()[1]) == (b"%d." % number)[::-1]
    thread.join()


def test_the_end_of_the_other_side_is_told(pair):
    pair[1].close()
    with pytest.raises(LaneClosed):
        pair[0].receive()
    with pytest.raises(LaneClosed):
        pair[0].send(Kind.RUN, b"")


def test_what_does_not_come_in_time_is_told_from_what_never_can():
    left, right = socket.socketpair()
    with left:
        lane = Lane(right, patience_seconds=0.05)
        with pytest.raises(LaneOverdue):
            lane.receive()
        left.close()
        with pytest.raises(LaneClosed):
            lane.receive()
        lane.close()


@pytest.mark.parametrize(
    "frame",
    [
        struct.pack("<QB", 1 << 50, Kind.DONE),
        struct.pack("<QB", 0, 250),
        struct.pack("<QB", 1, Kind.DONE) + b"more than one",
    ],
    ids=["too long", "unknown kind", "two at once"],
)
def test_what_is_no_frame_closes_the_lane(frame):
    left, right = socket.socketpair()
    with left:
        left.sendall(frame)
        lane = Lane(right, most_bytes=1 << 20)
        with pytest.raises(LaneClosed):
            lane.receive()
        lane.close()


@given(
    st.builds(
        RunRequest,
        st.binary(max_size=40),
        st.integers(0, 1 << 40),
        st.integers(-(1 << 63), (1 << 64) - 1),
        st.integers(-(1 << 63), (1 << 64) - 1),
    )
)
def test_messages_are_the_same_on_the_other_side(request):
    assert msgspec.msgpack.decode(encode(request), type=RunRequest) == request


def test_a_message_of_another_form_is_refused():
    with pytest.raises(msgspec.ValidationError):
        msgspec.msgpack.decode(encode(["key", "not a number", 0, 0]), type=RunRequest)


def test_the_settings_of_a_child_are_the_same_on_the_other_side():
    settings = ChildSettings(3, 4096, 4, (5, 6), Limits(nodes=7), "INFO")
    assert msgspec.json.decode(msgspec.json.encode(settings), type=ChildSettings) == settings
