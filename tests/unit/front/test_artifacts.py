"""The store: what was sent is found again under its digest, by whoever sent it, as long as there is room."""

from __future__ import annotations

import gc
import hashlib
import json
import struct
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
import pytest
import safetensors.numpy
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from gradserve.v1 import artifact_service_pb2 as service
from gradserve.v1 import tensor_pb2
from gradserve_server.common.budget import Budget, Purpose
from gradserve_server.common.errors import Problem, Reason
from gradserve_server.common.memory import ALIGNMENT
from gradserve_server.front.artifacts import canonical
from gradserve_server.front.artifacts.store import Digest, Store
from tests.unit.front.scaling_worker import OwnRegion, ScalingWorker, gradients_request
from tests.unit.front.test_service import Front, front

PREFIX = "/gradserve.v1.ArtifactService/"
WEIGHTS = {"w": np.array(3.0, np.float32)}


def make_store(most_bytes: int = 1 << 20) -> tuple[Store, Budget]:
    budget = Budget(1 << 20)
    return Store(budget, OwnRegion, most_bytes), budget


def test_the_canonical_file_is_a_safetensors_file_with_the_digest_of_its_bytes() -> None:
    random = np.random.default_rng(0)
    arrays = {
        "b/kernel": random.standard_normal((3, 5)).astype(np.float32),
        "a": np.array(2.5, np.float64),
        'quote " and é': np.arange(3, dtype=np.int8),
        "empty": np.zeros((0, 4), np.float16),
    }
    start = canonical.header(arrays)
    content = start + b"".join(arrays[name].tobytes() for name in sorted(arrays))
    read = safetensors.numpy.load(content)
    assert read.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(read[name], array)
    assert canonical.digest(start, arrays) == (hashlib.sha256(content).hexdigest(), len(content))
    length = struct.unpack("<Q", start[:8])[0]
    assert length % 8 == 0
    header = json.loads(start[8:])
    assert list(header) == sorted(arrays)
    plain = json.dumps(header, separators=(",", ":"), ensure_ascii=False)
    assert start[8:].decode().rstrip(" ") == plain


def test_weights_are_kept_aligned_and_given_out_as_their_file() -> None:
    store, budget = make_store()
    arrays = {"b": np.arange(5, dtype=np.float32), "a": np.ones((2, 3), np.float32)}
    digest = store.keep_arrays("me", arrays)
    artifact = store.find("me", digest)
    assert artifact is not None
    assert Digest.of(artifact.content()) == digest
    held = artifact.weights("weights.digest")
    assert list(held) == ["a", "b"]
    for name, array in arrays.items():
        np.testing.assert_array_equal(held[name], array)
    assert store.find("another", digest) is None
    assert budget.used_by(Purpose.STORE) > 0


def test_a_file_that_is_not_aligned_is_laid_out_anew_and_stays_what_it_was() -> None:
    store, _ = make_store()
    content = safetensors.numpy.save({"a": np.arange(3, dtype=np.float32), "b": np.arange(7, dtype=np.float32)})
    artifact = store.find("me", store.keep("me", content))
    assert artifact is not None
    held = artifact.weights("weights.digest")
    np.testing.assert_array_equal(held["b"], np.arange(7))
    base = held["a"].ctypes.data
    assert (held["b"].ctypes.data - base) % ALIGNMENT == 0
    assert Digest.of(artifact.content()) == Digest.of(content)


def test_what_was_used_longest_ago_goes_first_and_its_memory_with_the_last_who_uses_it() -> None:
    store, budget = make_store(100)
    first, second = store.keep("me", b"a" * 40), store.keep("me", b"b" * 40)
    in_use = store.find("me", second)
    assert store.find("me", first) is not None  # just used
    third = store.keep("me", b"c" * 40)
    assert [store.find("me", one) is not None for one in (first, second, third)] == [True, False, True]
    assert budget.used == 120
    assert in_use is not None
    assert bytes(in_use.content()) == b"b" * 40
    del in_use
    gc.collect()
    assert budget.used == 80


def test_what_is_held_makes_way_for_requests() -> None:
    budget = Budget(100)
    store = Store(budget, OwnRegion, 100)
    first, second = store.keep("me", b"a" * 40), store.keep("me", b"b" * 40)
    with budget.reserve((Purpose.BLOCKS, 50)):
        assert [store.find("me", one) is not None for one in (first, second)] == [False, True]
        with pytest.raises(Problem) as caught:
            budget.reserve((Purpose.BLOCKS, 60))
        assert caught.value.reason is Reason.OVERLOADED


def test_what_never_fits_is_refused() -> None:
    store, budget = make_store(10)
    with pytest.raises(Problem) as caught:
        store.upload("me", Digest("0" * 64, 11))
    assert caught.value.reason is Reason.TOO_LARGE
    assert budget.used == 0


@pytest.fixture
def served() -> Iterator[Front]:
    with front(ScalingWorker()) as one:
        yield one


def digest_of(content: bytes) -> tensor_pb2.Digest:
    return tensor_pb2.Digest(hash=hashlib.sha256(content).hexdigest(), size_bytes=len(content))


def upload(served: Front, *messages: service.UploadRequest) -> service.UploadResponse:
    call = served.channel.stream_unary(PREFIX + "Upload")
    return service.UploadResponse.FromString(call(iter([one.SerializeToString() for one in messages]), timeout=20))


def refusal(served: Front, *messages: service.UploadRequest) -> str:
    with pytest.raises(grpc.RpcError) as caught:
        upload(served, *messages)
    info = error_details_pb2.ErrorInfo()
    assert rpc_status.from_call(caught.value).details[0].Unpack(info)
    return info.reason


def missing(served: Front, *digests: tensor_pb2.Digest) -> int:
    request = service.FindMissingRequest(digests=digests)
    answer = served.channel.unary_unary(PREFIX + "FindMissing")(request.SerializeToString(), timeout=20)
    return len(service.FindMissingResponse.FromString(answer).missing)


def test_an_upload_comes_in_pieces_resumes_and_is_given_out_again(served: Front) -> None:
    content = bytes(range(256)) * 100
    digest = digest_of(content)
    assert missing(served, digest) == 1
    first = service.UploadRequest(digest=digest, data=content[:1000])
    assert upload(served, first).committed_bytes == 1000
    # Where did it break off?
    assert upload(served, service.UploadRequest(digest=digest)).committed_bytes == 1000
    rest = [
        service.UploadRequest(offset=place, data=content[place : place + 5000]) for place in range(1000, 25600, 5000)
    ]
    assert upload(served, service.UploadRequest(digest=digest), *rest).committed_bytes == len(content)
    assert missing(served, digest) == 0
    # Who brings it again need not send it.
    assert upload(served, service.UploadRequest(digest=digest)).committed_bytes == len(content)
    request = service.DownloadRequest(digest=digest, offset=10)
    pieces = [
        service.DownloadResponse.FromString(one)
        for one in served.channel.unary_stream(PREFIX + "Download")(request.SerializeToString(), timeout=20)
    ]
    assert b"".join(one.data for one in pieces) == content[10:]
    served.channel.unary_unary(PREFIX + "Delete")(service.DeleteRequest(digests=[digest]).SerializeToString())
    assert missing(served, digest) == 1


def test_uploads_of_the_same_content_at_once_share(served: Front) -> None:
    content = np.random.default_rng(0).bytes(3 << 20)
    digest = digest_of(content)

    def bring(_: int) -> int:
        pieces = [
            service.UploadRequest(digest=digest, offset=place, data=content[place : place + (1 << 18)])
            for place in range(0, len(content), 1 << 18)
        ]
        return upload(served, *pieces).committed_bytes

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(bring, range(4))) == {len(content)}
    assert served.engine.budget.used_by(Purpose.STORE) == len(content)


def test_bad_uploads_are_refused_and_leave_nothing(served: Front) -> None:
    digest = digest_of(b"1234")
    assert refusal(served) == "MISSING_FIELD"
    assert refusal(served, service.UploadRequest(data=b"1")) == "MISSING_FIELD"
    assert refusal(served, service.UploadRequest(digest=digest, data=b"4321")) == "INVALID_VALUE"
    assert refusal(served, service.UploadRequest(digest=digest, data=b"12345")) == "INVALID_VALUE"
    assert refusal(served, service.UploadRequest(digest=digest, offset=2, data=b"34")) == "INVALID_VALUE"
    wrong = tensor_pb2.Digest(hash="A" * 64, size_bytes=4)
    assert refusal(served, service.UploadRequest(digest=wrong, data=b"1234")) == "INVALID_VALUE"
    assert upload(served, service.UploadRequest(digest=digest, data=b"1234")).committed_bytes == 4


def test_weights_and_network_are_named_by_digest_once_they_were_sent(served: Front) -> None:
    request = gradients_request()
    request.weights.keep = True
    answer = served.compute(request)
    assert answer.network_digest == digest_of(b"w x")
    by_digest = gradients_request()
    by_digest.network.Clear()
    by_digest.network.digest.CopyFrom(answer.network_digest)
    by_digest.network.digest_format = 1
    by_digest.weights.Clear()
    by_digest.weights.digest.CopyFrom(answer.weights_digest)
    for _ in range(3):
        assert served.compute(by_digest).loss == answer.loss == 9.0
    held = canonical.header(WEIGHTS) + WEIGHTS["w"].tobytes()
    assert answer.weights_digest == digest_of(held)


def test_a_digest_that_is_not_held_is_told_as_missing(served: Front) -> None:
    request = gradients_request()
    request.weights.digest.CopyFrom(digest_of(b"unknown"))
    with pytest.raises(grpc.RpcError) as caught:
        served.compute(request)
    assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION  # type: ignore[attr-defined]
    details = rpc_status.from_call(caught.value).details
    failure = error_details_pb2.PreconditionFailure()
    assert any(one.Unpack(failure) for one in details if one.Is(failure.DESCRIPTOR))
    subject = f"{digest_of(b'unknown').hash}/7"
    assert [(one.type, one.subject) for one in failure.violations] == [("MISSING", subject)]
