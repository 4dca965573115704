"""A server of one's own, beside this process: `gradserve.local`."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, final

from gradserve.client import Client
from gradserve.errors import GradserveError, MissingExtra, ServerFault, Unavailable
from gradserve.transport.retry import RetryPolicy

logger = logging.getLogger("gradserve")

_NEEDED = ("gradserve_server", "jax", "msgspec", "pydantic_settings", "grpc_health")
"""What the extra `server` brings; looked for, never imported."""

_LONGEST_SOCKET_PATH = 100
"""Characters; systems take between 103 and 107."""

_STOP_SECONDS = 10.0


def local(
    isolation: Literal["process", "none"] = "process",
    *,
    timeout: float | None = None,
    startup_timeout: float = 60.0,
    retry: RetryPolicy | None = None,
    on_compile: Callable[[], None] | None = None,
    environment: Mapping[str, str] | None = None,
    **settings: str | float | bool,
) -> Client:
    """A client with a server of its own, which runs beside this process and stops with it.

    The server listens on a private Unix socket. It stops when the client is closed, and also when
    this process ends in any way. Needs the extra: ``pip install 'gradserve[server]'``.

    Example:
        >>> with gs.local() as client:
        ...     client.server_info().platform

    Args:
        isolation: ``"process"`` computes in a worker process that can be replaced if it dies;
            ``"none"`` in the server itself, for the lowest latency.
        timeout: seconds that a call may take; None waits for as long as it takes.
        startup_timeout: seconds until the server must be ready.
        retry: when failed calls are tried again.
        on_compile: called when the server says that it is compiling.
        environment: variables of the server's process, beside those of this one.
        settings: further settings of the server, by the names of its flags, with ``_`` for ``-``.

    Raises:
        MissingExtra: the server is not installed.
        ServerFault: it ended, or was not ready in time; the message holds the end of its log.
    """
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        raise MissingExtra(
            f"gs.local() needs the server, of which {', '.join(missing)} cannot be found: "
            "pip install 'gradserve[server]'",
            hint="pip install 'gradserve[server]'",
        )
    server = _Server(isolation, environment or {}, settings)
    try:
        client = Client(
            server.address,
            timeout=timeout,
            connect_timeout=1.0,
            retry=retry,
            on_compile=on_compile,
            _on_close=server.stop,
        )
        # For clients that nobody closes: runs when they are collected, or at exit.
        weakref.finalize(client, server.stop)
        server.wait_until_ready(client, startup_timeout)
    except BaseException:
        server.stop()
        raise
    return client


@final
class _Server:
    """The server's process, its socket and its log, in a private folder."""

    def __init__(self, isolation: str, environment: Mapping[str, str], settings: Mapping[str, Any]) -> None:
        self._folder = _private_folder()
        self._log = self._folder / "server.log"
        self.address = f"unix:{self._folder / 'gradserve.sock'}"
        self._stopping = threading.Lock()
        flags = {
            "address": self.address,
            "isolation": isolation,
            "stop_with_stdin": True,
            "metrics_address": "",
            **settings,
        }
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                # -P: what lies in the current folder is not imported in place of our modules.
                [sys.executable, "-P", "-m", "gradserve_server", *_arguments(flags)],
                # The server stops when this pipe ends: even if this process is killed.
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env={**os.environ, **environment},
                # Ctrl-C is for this process, which then stops the server.
                start_new_session=True,
            )

    def wait_until_ready(self, client: Client, seconds: float) -> None:
        """Returns once the server answers.

        Raises:
            ServerFault: it ended, or does not answer in time.
        """
        deadline = time.monotonic() + seconds
        socket = self._folder / "gradserve.sock"
        problem: GradserveError | None = None
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise ServerFault(
                    f"the local server ended with exit status {self._process.returncode}:\n{self._tail()}"
                )
            if socket.exists():
                try:
                    client.server_info(timeout=max(0.1, deadline - time.monotonic()))
                except Unavailable as error:
                    problem = error
                else:
                    return
            time.sleep(0.02)
        raise ServerFault(
            f"the local server was not ready within {seconds:g} s ({problem or 'no socket'}):\n{self._tail()}"
        )

    def stop(self) -> None:
        """Stops the server: asks first, then insists. Can be repeated."""
        with self._stopping:
            if not self._folder.exists():
                return
            if self._process.poll() is not None:
                logger.warning(
                    "the local server had ended with exit status %d:\n%s",
                    self._process.returncode,
                    self._tail(),
                )
            _end(self._process)
            shutil.rmtree(self._folder, ignore_errors=True)

    def _tail(self, lines: int = 20) -> str:
        """The end of the server's log."""
        try:
            text = self._log.read_text(encoding="utf-8", errors="replace")
        except OSError:
            return "(no log)"
        return "\n".join(text.splitlines()[-lines:]) or "(empty log)"


def _arguments(flags: Mapping[str, Any]) -> list[str]:
    """Settings as the server's command line takes them."""
    arguments: list[str] = []
    for name, value in flags.items():
        text = str(value).lower() if isinstance(value, bool) else str(value)
        arguments += [f"--{name.replace('_', '-')}", text]
    return arguments


def _private_folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="gradserve-"))
    if len(str(folder / "gradserve.sock")) > _LONGEST_SOCKET_PATH:
        folder.rmdir()
        folder = Path(tempfile.mkdtemp(prefix="gradserve-", dir="/tmp"))
    return folder


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ends a process by the end of its input, or SIGTERM, or SIGKILL."""
    if process.stdin is not None:
        process.stdin.close()
    for insist in (process.terminate, process.kill):
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            insist()
        else:
            return
    process.wait()
