"""The composition root: reads the settings, wires the parts, runs until told to stop."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Sequence

from pydantic import ValidationError
from pydantic_settings import CliApp, SettingsError

from gradserve_server.common import logs
from gradserve_server.common.config import Settings
from gradserve_server.common.memory import keep_freed_memory
from gradserve_server.common.metrics import Metrics
from gradserve_server.common.specs import Limits
from gradserve_server.front.engine import Engine
from gradserve_server.front.server import BindError, Server
from gradserve_server.worker.interface import Worker

_LOGGER = logging.getLogger("gradserve_server")


def main(arguments: Sequence[str] | None = None) -> int:
    """Serves until SIGTERM, SIGINT or, if asked for, the end of standard input; gives the exit status."""
    try:
        settings = CliApp.run(Settings, cli_args=list(sys.argv[1:] if arguments is None else arguments))
    except ValidationError as error:
        for one in error.errors():
            name = "-".join(str(part) for part in one["loc"]).replace("_", "-")
            print(f"gradserve serve: --{name}: {one['msg']} (given {one['input']!r})", file=sys.stderr)
        return 2
    except SettingsError as error:
        print(f"gradserve serve: {error}", file=sys.stderr)
        return 2
    logs.set_up(settings.log_format, settings.log_level)
    keep_freed_memory()
    return serve(settings)


def serve(settings: Settings) -> int:
    """Serves with these settings; gives the exit status."""
    stopping = threading.Event()
    _stop_on_signals(stopping)
    if settings.stop_with_stdin:
        threading.Thread(target=_stop_at_end_of_input, args=(stopping,), daemon=True).start()
    metrics = Metrics()
    worker = start_worker(settings)
    engine = Engine(settings, worker, metrics)
    try:
        server = Server(settings, engine, metrics)
    except BindError as error:
        _LOGGER.error(str(error))
        worker.close()
        return 1
    metrics_address, stop_metrics = "", None
    try:
        if settings.metrics_address:
            metrics_address, stop_metrics = metrics.serve(settings.metrics_address)
        server.start()
        # While the worker starts, calls wait for it; health says NOT_SERVING.
        places = {"address": server.address, "metrics_address": metrics_address}
        _LOGGER.info("listening", extra={**places, "isolation": settings.isolation})
        _follow_worker(worker, server, metrics, stopping)
        _LOGGER.info("stopping")
        server.stop(settings.drain_seconds).wait()
    except OSError as error:
        _LOGGER.error("cannot serve metrics at %s: %s", settings.metrics_address, error)
        return 1
    finally:
        server.stop(0)
        server.close()
        if stop_metrics:
            stop_metrics()
        worker.close()
    _LOGGER.info("stopped")
    return 0


def start_worker(settings: Settings) -> Worker:
    """The worker that the settings ask for."""
    limits = Limits(
        nodes=settings.max_nodes,
        definition_bytes=settings.max_definition_bytes,
        memory_bytes=settings.memory_budget,
        programs=settings.max_programs,
        pad_batches=settings.pad_batches,
    )
    if settings.isolation == "none":
        from gradserve_server.worker.in_process import InProcessWorker  # brings JAX

        return InProcessWorker(limits)
    from gradserve_server.worker.supervisor import ProcessWorker

    return ProcessWorker(limits, settings.concurrency, settings.memory_budget, settings.max_call_seconds)


def _follow_worker(worker: Worker, server: Server, metrics: Metrics, stopping: threading.Event) -> None:
    """Tells health checks whether the worker is ready, until it is time to stop."""
    was_ready = False
    while not stopping.wait(0.05 if not was_ready else 0.2):
        is_ready = worker.ready
        if is_ready != was_ready:
            server.ready(is_ready=is_ready)
            if not is_ready:
                metrics.count_worker_loss()
            _LOGGER.info("serving" if is_ready else "worker lost", extra={"address": server.address})
            was_ready = is_ready


def _stop_on_signals(stopping: threading.Event) -> None:
    if threading.current_thread() is not threading.main_thread():
        return
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())


def _stop_at_end_of_input(stopping: threading.Event) -> None:
    # Not sys.stdin: its lock would be held at the end of the process.
    while os.read(0, 4096):
        pass
    stopping.set()


if __name__ == "__main__":
    sys.exit(main())
