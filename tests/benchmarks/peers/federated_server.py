"""A node of pytensor-federated: python federated_server.py PORT NAMES.

Its arrays are the weights in the order of NAMES (as JSON), then the batch's inputs and classes.
"""

from __future__ import annotations

import asyncio
import json
import sys

import grpclib.server
import mlp
import numpy as np
from pytensor_federated import ArraysToArraysService


async def main(port: int, names: list[str]) -> None:
    def compute(*arrays: np.ndarray) -> list[np.ndarray]:
        loss, found = mlp.value_and_gradients(dict(zip(names, arrays, strict=False)), *arrays[len(names) :])
        return [np.asarray(loss), *(np.asarray(found[name]) for name in names)]

    server = grpclib.server.Server([ArraysToArraysService(compute)])
    await server.start("127.0.0.1", port)
    await server.wait_closed()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), json.loads(sys.argv[2])))
