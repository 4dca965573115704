"""The published test vectors of digests, against the client and the server, which each have their own code for them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from gradserve.held import hold
from gradserve_server.front.artifacts import canonical

TEXT = (Path(__file__).parents[2] / "docs" / "digests.md").read_text()
VECTORS: list[dict[str, Any]] = json.loads(re.findall(r"```json\n(.*?)```", TEXT, re.DOTALL)[0])
DTYPES = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "BF16": ml_dtypes.bfloat16,
    "I64": "<i8",
    "U8": "u1",
    "BOOL": "?",
}


@pytest.mark.parametrize("vector", VECTORS, ids=lambda one: one["title"])
def test_client_and_server_give_the_published_file(vector: dict[str, Any]) -> None:
    arrays = {
        name: np.frombuffer(bytes.fromhex(one["data"]), DTYPES[one["dtype"]]).reshape(one["shape"])
        for name, one in vector["tensors"].items()
    }
    held = hold(arrays)
    assert (held.digest, held.size_bytes) == (vector["hash"], vector["size_bytes"])
    assert b"".join(held.pieces(0)).hex() == vector["file"]
    assert canonical.digest(canonical.header(arrays), arrays) == (vector["hash"], vector["size_bytes"])


def test_an_upload_goes_on_from_any_byte() -> None:
    held = hold({"a": np.arange(5, dtype="<f4"), "b": np.arange(3, dtype="<i2")})
    whole = b"".join(held.pieces(0))
    for offset in range(len(whole) + 1):
        assert b"".join(held.pieces(offset)) == whole[offset:]
