"""A caller of one peer, in the peers' environment: python driver.py PEER FOLDER.

The folder holds arrays.npz: weights, x and y. It starts the peer's server, writes loss and gradients to answer.npz,
and says that it is ready. Then, for each number on standard input, it makes so many calls and tells their seconds.
"""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

Arrays = dict[str, np.ndarray]
Call = Callable[[], tuple[float, Arrays]]

HERE = Path(__file__).parent
START_SECONDS = 60.0


@contextlib.contextmanager
def tesseract(weights: Arrays, x: np.ndarray, y: np.ndarray) -> Iterator[Call]:
    """The loss by `apply`, the gradients by `vector_jacobian_product`: it has no endpoint for both."""
    from tesseract_core import Tesseract

    inputs = {"weights": weights, "x": x, "y": y}
    paths = {f"weights.{{{name}}}": name for name in weights}

    def call() -> tuple[float, Arrays]:
        loss = served.apply(inputs)["loss"]
        found = served.vector_jacobian_product(inputs, [*paths], ["loss"], {"loss": np.float32(1)})
        return float(loss), {paths[path]: gradient for path, gradient in found.items()}

    api = HERE / "tesseract" / "tesseract_api.py"
    with Tesseract.from_source(api, python_executable=sys.executable) as served:
        yield call


@contextlib.contextmanager
def umbridge(weights: Arrays, x: np.ndarray, y: np.ndarray) -> Iterator[Call]:
    """The loss by `Evaluate`, the gradients by `Gradient`: it has no endpoint for both."""
    from umbridge import HTTPModel

    shapes = {name: array.shape for name, array in (weights | {"x": x, "y": y}).items()}
    with _server("umbridge_server.py", json.dumps(shapes)) as port:
        model = HTTPModel(f"http://127.0.0.1:{port}", "loss")

        def call() -> tuple[float, Arrays]:
            flat = np.concatenate([array.reshape(-1) for array in weights.values()])
            parameters = [flat.tolist(), x.reshape(-1).tolist(), y.tolist()]
            loss = model(parameters)[0][0]
            found = np.array(model.gradient(0, 0, parameters, [1.0]), np.float32)
            ends = np.cumsum([array.size for array in weights.values()])
            pieces = np.split(found, ends[:-1])
            return loss, {name: one.reshape(weights[name].shape) for name, one in zip(weights, pieces, strict=True)}

        yield call


@contextlib.contextmanager
def pytensor_federated(weights: Arrays, x: np.ndarray, y: np.ndarray) -> Iterator[Call]:
    """Loss and gradients in one call, over a stream that stays open, which is its default."""
    from pytensor_federated import ArraysToArraysServiceClient

    with _server("federated_server.py", json.dumps([*weights])) as port:
        client = ArraysToArraysServiceClient("127.0.0.1", port)

        def call() -> tuple[float, Arrays]:
            loss, *found = client.evaluate(*weights.values(), x, y)
            return float(loss), dict(zip(weights, found, strict=True))

        yield call


PEERS = {"tesseract": tesseract, "umbridge": umbridge, "pytensor_federated": pytensor_federated}


@contextlib.contextmanager
def _server(script: str, argument: str) -> Iterator[int]:
    """A server in a process of its own, which ends with this; gives its port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, str(HERE / script), str(port), argument]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + START_SECONDS
        while socket.socket().connect_ex(("127.0.0.1", port)):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{script} does not serve")
            time.sleep(0.05)
        yield port
    finally:
        process.terminate()
        process.wait()


def main(peer: str, folder: Path) -> None:
    """Serves and calls until standard input ends."""
    with np.load(folder / "arrays.npz") as file:
        arrays: Any = dict(file)
    x, y = arrays.pop("x"), arrays.pop("y")
    with PEERS[peer](arrays, x, y) as call:
        loss, gradients = call()
        np.savez(folder / "answer.npz", loss=loss, **gradients)
        print("ready", flush=True)
        for line in sys.stdin:
            times = []
            for _ in range(int(line)):
                start = time.perf_counter()
                call()
                times.append(time.perf_counter() - start)
            print(json.dumps(times), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
