"""ArtifactService: takes artifacts in and gives them out, in pieces."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, final

import grpc
from google.protobuf.message import Message

from gradserve.v1 import artifact_service_pb2 as service
from gradserve.v1 import tensor_pb2
from gradserve_server.common.errors import Problem, Reason
from gradserve_server.common.metrics import Metrics
from gradserve_server.common.unknown_fields import refuse_unknown
from gradserve_server.front.artifacts.store import MOST_DIGESTS, Digest, Store
from gradserve_server.front.convert import parse
from gradserve_server.front.status import abort

PIECE_BYTES = 1 << 20


@final
class Artifacts:
    """The calls of the service, for one caller each.

    Args:
        store: holds what was sent.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def find_missing(self, request: service.FindMissingRequest, identity: str) -> service.FindMissingResponse:
        """FindMissing."""
        refuse_unknown(request, "")
        digests = _digests(request.digests)
        missing = [one for one in digests if self._store.find(identity, one) is None]
        return service.FindMissingResponse(missing=[message(one) for one in missing])

    def upload(self, requests: Iterator[service.UploadRequest], identity: str) -> service.UploadResponse:
        """Upload."""
        first = next(requests, None)
        if first is None or not first.HasField("digest"):
            raise Problem(Reason.MISSING_FIELD, "the first message names the digest", field="digest")
        refuse_unknown(first, "")
        digest = Digest(first.digest.hash, first.digest.size_bytes)
        upload = self._store.upload(identity, digest)
        if upload is None:
            return service.UploadResponse(digest=first.digest, committed_bytes=digest.size)
        request: service.UploadRequest | None = first
        while request is not None:
            if request is not first:
                refuse_unknown(request, "")
                if request.HasField("digest") and request.digest != first.digest:
                    raise Problem(Reason.INVALID_VALUE, "one artifact for each call", field="digest")
            if request.data:
                upload.take(request.offset, request.data)
            if upload.received == digest.size:
                self._store.finish(identity, upload)
                break
            request = next(requests, None)
        return service.UploadResponse(digest=first.digest, committed_bytes=upload.received)

    def download(self, request: service.DownloadRequest, identity: str) -> Iterator[service.DownloadResponse]:
        """Download."""
        refuse_unknown(request, "")
        digest = Digest(request.digest.hash, request.digest.size_bytes)
        content = self._store.get(identity, request.digest, "digest").content()
        if not 0 <= request.offset <= digest.size:
            raise Problem(
                Reason.INVALID_VALUE,
                "outside the artifact",
                field="offset",
                given=str(request.offset),
                expected=f"0 to {digest.size}",
            )
        for offset in range(request.offset, digest.size, PIECE_BYTES):
            yield service.DownloadResponse(offset=offset, data=content[offset : offset + PIECE_BYTES])

    def delete(self, request: service.DeleteRequest, identity: str) -> service.DeleteResponse:
        """Delete."""
        refuse_unknown(request, "")
        for digest in _digests(request.digests):
            self._store.forget(identity, digest)
        return service.DeleteResponse()


def artifact_handlers(store: Store, metrics: Metrics) -> dict[str, grpc.RpcMethodHandler[Any, Any]]:
    """Handlers of the service's calls, by name. Every caller is the same one as long as callers have no names."""
    calls = Artifacts(store)
    identity = ""

    def answered(name: str, answer: Callable[[], Iterator[bytes]], context: grpc.ServicerContext) -> Iterator[bytes]:
        code = "OK"
        try:
            yield from answer()
        except Problem as problem:
            code = problem.reason.code.value
            abort(context, problem)
        finally:
            metrics.count(name, code)

    def one(name: str, kind: type[Message], call: Callable[[Any, str], Message]) -> grpc.RpcMethodHandler[Any, Any]:
        def answer(content: bytes) -> Iterator[bytes]:
            yield call(parse(kind, content), identity).SerializeToString()

        return grpc.unary_unary_rpc_method_handler(
            lambda content, context: next(answered(name, lambda: answer(content), context))
        )

    def upload(contents: Iterator[bytes]) -> Iterator[bytes]:
        requests = (parse(service.UploadRequest, content) for content in contents)
        yield calls.upload(requests, identity).SerializeToString()

    def download(content: bytes) -> Iterator[bytes]:
        for piece in calls.download(parse(service.DownloadRequest, content), identity):
            yield piece.SerializeToString()

    return {
        "FindMissing": one("FindMissing", service.FindMissingRequest, calls.find_missing),
        "Delete": one("Delete", service.DeleteRequest, calls.delete),
        "Upload": grpc.stream_unary_rpc_method_handler(
            lambda contents, context: next(answered("Upload", lambda: upload(contents), context))
        ),
        "Download": grpc.unary_stream_rpc_method_handler(
            lambda content, context: answered("Download", lambda: download(content), context)
        ),
    }


def message(digest: Digest) -> tensor_pb2.Digest:
    """As the contract has it."""
    return tensor_pb2.Digest(hash=digest.hash, size_bytes=digest.size)


def _digests(given: Sequence[tensor_pb2.Digest]) -> list[Digest]:
    if len(given) > MOST_DIGESTS:
        raise Problem(
            Reason.TOO_LARGE,
            "too many digests",
            field="digests",
            given=str(len(given)),
            expected=f"at most {MOST_DIGESTS}",
            metadata={"needed": str(len(given)), "limit": str(MOST_DIGESTS)},
        )
    digests = [Digest(one.hash, one.size_bytes) for one in given]
    for index, one in enumerate(digests):
        one.check(f"digests[{index}]")
    return digests
