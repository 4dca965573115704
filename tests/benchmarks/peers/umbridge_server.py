"""A UM-Bridge model: python umbridge_server.py PORT SHAPES, where SHAPES is what `driver` writes.

Inputs are lists of numbers, as that protocol has them: all weights, then the batch's inputs, then its classes.
"""

from __future__ import annotations

import functools
import json
import math
import sys
from typing import Any

import mlp
import numpy as np
import umbridge
from aiohttp import web


class Loss(umbridge.Model):
    def __init__(self, shapes: dict[str, list[int]]) -> None:
        super().__init__("loss")
        self._weights = {name: shape for name, shape in shapes.items() if name not in {"x", "y"}}
        self._x, self._y = shapes["x"], shapes["y"]

    def get_input_sizes(self, config: Any) -> list[int]:
        return [sum(math.prod(shape) for shape in self._weights.values()), math.prod(self._x), math.prod(self._y)]

    def get_output_sizes(self, config: Any) -> list[int]:
        return [1]

    def __call__(self, parameters: Any, config: Any) -> list[list[float]]:
        return [[float(mlp.value(*self._arrays(parameters)))]]

    def gradient(self, out_wrt: int, in_wrt: int, parameters: Any, sens: Any, config: Any) -> list[float]:
        found = mlp.gradients(*self._arrays(parameters))
        flat = np.concatenate([np.asarray(found[name]).reshape(-1) for name in self._weights])
        return (flat * sens[0]).tolist()

    def supports_evaluate(self) -> bool:
        return True

    def supports_gradient(self) -> bool:
        return True

    def _arrays(self, parameters: Any) -> tuple[dict[str, Any], Any, Any]:
        flat = np.asarray(parameters[0], np.float32)
        weights, place = {}, 0
        for name, shape in self._weights.items():
            weights[name] = flat[place : place + math.prod(shape)].reshape(shape)
            place += math.prod(shape)
        x = np.asarray(parameters[1], np.float32).reshape(self._x)
        return weights, x, np.asarray(parameters[2], np.int32).reshape(self._y)


if __name__ == "__main__":
    # It has no way to be told an address: by itself it serves to the whole network.
    web.run_app = functools.partial(web.run_app, host="127.0.0.1")
    umbridge.serve_models([Loss(json.loads(sys.argv[2]))], int(sys.argv[1]))
