"""One open stream: a thread reads it, a thread writes to it, and the server's pool computes."""

from __future__ import annotations

import collections
import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from typing import final

import grpc
from grpc_status import rpc_status

from gradserve.v1 import gradient_service_pb2 as service
from gradserve_server.common.errors import Problem, Reason
from gradserve_server.common.metrics import Metrics
from gradserve_server.front import convert
from gradserve_server.front.engine import Engine, Finished
from gradserve_server.front.status import fault, to_status
from gradserve_server.front.stream.parts import Part, answer, chunks, read_part
from gradserve_server.front.stream.pending import Pending

_LOGGER = logging.getLogger("gradserve_server.front")

# Chunks of a request that has failed may still be on their way; those of an older one are an error.
_MOST_FAILED = 10_000
# Each has two threads, which mostly wait.
_MOST_STREAMS = 1_000

Send = Callable[[bytes | None], None]
# A message; or a number, the name of the part, and an answer with the memory that it lies in.
Outgoing = bytes | tuple[int, str, Finished]


@final
class Session:
    """A stream, from its first message to its last.

    Args:
        engine: computes.
        pool: runs what is whole.
        metrics: counts requests as calls.
        context: gRPC's view of the stream.
        send: writes a message, or with None ends the stream; for one thread at a time.
    """

    def __init__(
        self, engine: Engine, pool: Executor, metrics: Metrics, context: grpc.ServicerContext, send: Send
    ) -> None:
        self._engine = engine
        self._pool = pool
        self._metrics = metrics
        self._context = context
        self._send = send
        self._lock = threading.Condition()
        self._pending: dict[int, Pending] = {}
        self._failed: collections.OrderedDict[int, None] = collections.OrderedDict()
        self._outbox: queue.SimpleQueue[Outgoing | None] = queue.SimpleQueue()
        self._timers: dict[int, threading.Timer] = {}
        self._is_over = self._is_finished = False
        self._writer = threading.Thread(target=self._write, name="stream-writer", daemon=True)

    def run(self, requests: Iterator[bytes]) -> None:
        """Reads until the caller sends no more, then waits for the answers that are due."""
        self._writer.start()
        try:
            for content in requests:
                self._take(read_part(content))
                if self._is_over:
                    break
        except Problem as problem:
            self._end(problem)
        except Exception:  # noqa: BLE001 (what gRPC raises where the caller is gone)
            self.abandon()
        self._finish()
        self._writer.join()

    def go_away(self, grace: float) -> None:
        """Tells the caller that the stream will end, and ends it after `grace` seconds."""
        message = service.StreamResponse()
        message.going_away.grace.FromNanoseconds(int(grace * 1e9))
        self._outbox.put(message.SerializeToString())
        timer = threading.Timer(grace, self._end, (Problem(Reason.DRAINING, "the server is about to stop"),))
        timer.daemon = True
        timer.start()

    def refuse(self, problem: Problem) -> None:
        """Ends the stream before anything was read."""
        self._writer.start()
        self._end(problem)

    def abandon(self) -> None:
        """Drops what has not run: nobody waits for it any more."""
        with self._lock:
            if self._is_over:
                return
            self._is_over = True
            pending = list(self._pending.values())
            self._lock.notify_all()
        for one in pending:
            one.cancel()
            if not one.is_whole:
                self._fail(one, Problem(Reason.CANCELLED, "the caller gave the stream up"))

    def _end(self, problem: Problem) -> None:
        """Ends the stream itself."""
        self._metrics.count("Stream", problem.reason.code.value)
        status = rpc_status.to_status(to_status(problem))
        self._context.set_code(status.code)
        self._context.set_details(status.details)
        self._context.set_trailing_metadata(status.trailing_metadata)
        self.abandon()
        self._finish()

    def _finish(self) -> None:
        """Ends the stream once all that is due has been answered."""
        with self._lock:
            if self._is_finished:
                return
            self._is_finished = True
            while self._pending:
                self._lock.wait()
        self._outbox.put(None)

    def _take(self, part: Part) -> None:
        pending = self._pending.get(part.request_id)
        if part.opens is not None:
            if pending is not None or part.request_id in self._failed:
                raise Problem(
                    Reason.MALFORMED_REQUEST,
                    "a request's number is its own on the stream",
                    field="request_id",
                    given=str(part.request_id),
                )
            kind, content = part.opens
            self._open(Pending(part.request_id, kind, content, part.timeout, id(self)))
        elif pending is None:
            # It has failed, or is answered already.
            if part.request_id not in self._failed:
                raise Problem(
                    Reason.MALFORMED_REQUEST,
                    "this belongs to no request of the stream",
                    field="request_id",
                    given=str(part.request_id),
                )
        elif part.chunk is not None:
            try:
                pending.take(part.chunk)
            except Problem as problem:
                self._fail(pending, problem)
            else:
                if pending.is_whole:
                    self._start(pending)
        else:
            pending.cancel()
            if not pending.is_whole:
                self._fail(pending, Problem(Reason.CANCELLED, "the caller gave the request up"))

    def _open(self, pending: Pending) -> None:
        with self._lock:
            self._pending[pending.request_id] = pending
        try:
            pending.reserve(self._engine.budget)
            if self._engine.find_task(pending.kind, pending.content) is None:
                request = convert.parse(pending.kind.message, pending.content)
                pending.expect(request, self._engine.budget, self._engine.region)
        except Problem as problem:
            self._fail(pending, problem)
            return
        if pending.is_whole:
            self._start(pending)
        elif (left := pending.seconds_left) is not None:
            # Else what never becomes whole would keep its memory.
            timer = threading.Timer(max(0.0, left), self._expire, (pending,))
            timer.daemon = True
            self._timers[pending.request_id] = timer
            timer.start()

    def _expire(self, pending: Pending) -> None:
        if not pending.is_whole:
            self._fail(pending, Problem(Reason.DEADLINE_EXPIRED, "the deadline passed before the request was whole"))

    def _start(self, pending: Pending) -> None:
        timer = self._timers.pop(pending.request_id, None)
        if timer is not None:
            timer.cancel()
        self._pool.submit(self._compute, pending)

    def _compute(self, pending: Pending) -> None:
        """On a thread of the pool."""
        kind = pending.kind
        try:
            pending.check()
            task = self._engine.find_task(kind, pending.content)
            if task is None:
                request = pending.request or convert.parse(kind.message, pending.content)
                task = self._engine.read_task(kind, request, pending.attachments)
            finished = self._engine.run(kind, task, pending, split=True)
        except Problem as problem:
            self._fail(pending, problem)
        except Exception as error:  # noqa: BLE001 (the last resort: logged, and answered)
            self._fail(pending, fault(kind.method, error))
        else:
            self._outbox.put((pending.request_id, kind.part, finished))
            self._done(pending, "OK")

    def _fail(self, pending: Pending, problem: Problem) -> None:
        """Answers a request with its failure; the stream goes on."""
        if not self._done(pending, problem.reason.code.value):
            return
        _LOGGER.info(
            "request of a stream refused",
            extra={"method": pending.kind.method, "reason": problem.reason.name, **problem.metadata},
        )
        status = to_status(problem)
        message = service.StreamResponse(request_id=pending.request_id)
        message.failure.code = status.code
        message.failure.message = status.message
        message.failure.status = status.SerializeToString()
        message.failure.reason = problem.reason.name
        for key, value in problem.metadata.items():
            message.failure.metadata[key] = value
        self._outbox.put(message.SerializeToString())

    def _done(self, pending: Pending, code: str) -> bool:
        """Lets go of a request; gives whether it was still held."""
        with self._lock:
            held = self._pending.pop(pending.request_id, None) is not None
            self._failed[pending.request_id] = None
            if len(self._failed) > _MOST_FAILED:
                self._failed.popitem(last=False)
            timer = self._timers.pop(pending.request_id, None)
            self._lock.notify_all()
        if timer is not None:
            timer.cancel()
        if held:
            pending.close()
            method = pending.kind.method
            self._metrics.count(method, code)
            self._metrics.observe(method, ("total", time.perf_counter() - pending.started))
        return held

    def _write(self) -> None:
        """On a thread of its own: a caller that is slow to read keeps nobody else from its answers."""
        while (outgoing := self._outbox.get()) is not None:
            if isinstance(outgoing, bytes):
                self._send(outgoing)
                continue
            request_id, part, finished = outgoing
            with finished:
                reply = finished.reply
                self._send(answer(request_id, part, reply.content))
                attachments = dict(enumerate(reply.attachments, 1))
                for message in chunks(request_id, attachments):
                    if not self._context.is_active():
                        break
                    self._send(message)
        self._send(None)


@final
class Sessions:
    """All open streams. Thread-safe."""

    def __init__(self, engine: Engine, pool: Executor, metrics: Metrics) -> None:
        self._engine = engine
        self._pool = pool
        self._metrics = metrics
        self._lock = threading.Lock()
        self._open: set[Session] = set()

    def start(self, requests: Iterator[bytes], context: grpc.ServicerContext, send: Send) -> None:
        """Serves a stream on threads of its own: streams stay open, and would fill a pool."""
        session = Session(self._engine, self._pool, self._metrics, context, send)
        with self._lock:
            is_full = len(self._open) >= _MOST_STREAMS
            if not is_full:
                self._open.add(session)
        if is_full:
            session.refuse(Problem(Reason.OVERLOADED, "too many streams are open", retry_seconds=1.0))
            return
        if not context.add_callback(session.abandon):
            session.abandon()
        threading.Thread(target=self._run, args=(session, requests), name="stream-reader", daemon=True).start()

    def go_away(self, grace: float) -> None:
        """Tells all callers that their streams will end."""
        with self._lock:
            sessions = list(self._open)
        for session in sessions:
            session.go_away(grace)

    def _run(self, session: Session, requests: Iterator[bytes]) -> None:
        try:
            session.run(requests)
        finally:
            with self._lock:
                self._open.discard(session)
