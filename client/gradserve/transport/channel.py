"""What the channels of both clients have in common."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field
from typing import Any, final

import grpc

from gradserve.errors import InvalidRequest
from gradserve.transport.retry import RetryPolicy

logger = logging.getLogger("gradserve")

SERVICE = "/gradserve.v1.GradientService/"
ARTIFACTS = "/gradserve.v1.ArtifactService/"

COMPILING_KEY = "gradserve-compiling"
"""Initial metadata of an answer that waits for a compilation."""

_OPTIONS: tuple[tuple[str, Any], ...] = (
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    # We retry ourselves: gRPC's retries skip large messages in silence.
    ("grpc.enable_retries", 0),
    # More often than each 5 minutes, servers with default settings hang up.
    ("grpc.keepalive_time_ms", 310_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    # A server that restarts is found again within a second or so.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    # A client does not share its connection, nor another's trouble with it.
    ("grpc.use_local_subchannel_pool", 1),
)


@final
@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of a client; the arguments of `Client`, which explains them."""

    address: str
    timeout: float | None = None
    connect_timeout: float = 5.0
    credentials: grpc.ChannelCredentials | None = None
    token: str | None = field(default=None, repr=False)
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    on_compile: Callable[[], None] | None = None

    def __post_init__(self) -> None:
        """Refuses what is no address."""
        address: object = self.address
        if not isinstance(address, str) or ":" not in address or "//" in address:
            raise InvalidRequest.because(
                "no address",
                field="address",
                given=repr(address),
                expected='"host:port" or "unix:/path/to/socket"',
            )

    @property
    def options(self) -> list[tuple[str, Any]]:
        """Options of the channel."""
        # How long gRPC tries to connect at least, which is also how long it tries in fact.
        patience = max(1, int(self.connect_timeout * 1000))
        return [*_OPTIONS, ("grpc.min_reconnect_backoff_ms", patience)]

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """Metadata of each call."""
        return (("authorization", f"Bearer {self.token}"),) if self.token else ()


def open_channel(settings: Settings) -> grpc.Channel:
    """A channel for threads."""
    if settings.credentials is None:
        return grpc.insecure_channel(settings.address, settings.options)
    return grpc.secure_channel(settings.address, settings.credentials, settings.options)


@final
class Seen:
    """Which calls were answered before, and so need no compilation. Thread-safe and bounded.

    Keeps hashes only: the price of a collision is a notice that is not given.
    """

    def __init__(self, capacity: int = 4096) -> None:
        self._capacity = capacity
        self._hashes: OrderedDict[int, None] = OrderedDict()
        self._lock = threading.Lock()

    def knows(self, signature: Hashable) -> bool:
        """Whether there was such a call, or it is one that compiles nothing."""
        return signature is None or hash(signature) in self._hashes

    def add(self, signature: Hashable) -> None:
        """Keeps it in mind, and forgets the oldest."""
        with self._lock:
            self._hashes[hash(signature)] = None
            if len(self._hashes) > self._capacity:
                self._hashes.popitem(last=False)


def announce_compilation(
    metadata: Iterable[tuple[str, str | bytes]] | None, on_compile: Callable[[], None] | None
) -> None:
    """Tells that the server is compiling, if its initial metadata says so."""
    if any(key == COMPILING_KEY and value in ("1", b"1") for key, value in metadata or ()):
        announce_long_wait(on_compile)


def announce_long_wait(on_compile: Callable[[], None] | None) -> None:
    """Tells that an answer takes long because it is the first of its kind."""
    logger.info("the server is compiling (first call with this network, loss and shapes); this may take some seconds")
    if on_compile is not None:
        on_compile()
