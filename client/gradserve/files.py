"""Networks and losses as files: proto-JSON to read and edit, the contract's bytes, or what others wrote."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TypeAlias, TypeVar

from google.protobuf import json_format
from google.protobuf.message import DecodeError, Message

from gradserve.errors import InvalidRequest
from gradserve.losses import Loss
from gradserve.network import Format, Network
from gradserve.tensors import message_bytes
from gradserve.v1 import loss_pb2, network_pb2

FilePath: TypeAlias = str | os.PathLike[str]

_BINARY = (".binpb", ".pb")
_JSON = (".json",)
# Formats that only the server reads; files hold them as they are.
_IMPORTED: dict[str, Format] = {".onnx": "onnx", ".onnxtxt": "onnx_text", ".stablehlo": "stablehlo"}

_Message = TypeVar("_Message", bound=Message)


def save(content: Network | Loss, path: FilePath) -> None:
    """Writes a network or a loss.

    Args:
        content: what to write.
        path: ``.json`` writes the contract's JSON form, ``.binpb`` its bytes. What came from ONNX or JAX is written
            as it is: ``.onnx``, ``.onnxtxt``, ``.stablehlo``.

    Raises:
        InvalidRequest: another ending than that of the network's format.
        OSError: the file cannot be written.
    """
    file = Path(path)
    if isinstance(content, Network) and content.format != "graph":
        if _IMPORTED.get(file.suffix) != content.format:
            (ending,) = [ending for ending, of in _IMPORTED.items() if of == content.format]
            raise InvalidRequest.because(
                "a network is written in the format that it came in", field="path", given=str(file), expected=ending
            )
        file.write_bytes(content.to_bytes())
        return
    message: Message = content.graph if isinstance(content, Network) else content.message
    if _is_json(file):
        file.write_text(json_format.MessageToJson(message, indent=2) + "\n", encoding="utf-8")
    else:
        file.write_bytes(message_bytes(message))


def load(path: FilePath) -> Network:
    """Reads a network.

    Args:
        path: a ``.json`` or ``.binpb`` file, from `save` or any other writer of the contract's
            `Graph`; ``.onnx``, or ``.onnxtxt`` as text; ``.stablehlo`` for a function of jax.export. Of these three,
            the server says whether it can read what they hold.

    Raises:
        InvalidRequest: another ending, or no network in the file.
        OSError: the file cannot be read.
    """
    file = Path(path)
    format_ = _IMPORTED.get(file.suffix)
    if format_ is not None:
        return Network.imported(format_, file.read_bytes())
    return Network(_read(path, network_pb2.Graph(), tuple(_IMPORTED)))


def load_onnx(path: FilePath) -> Network:
    """Reads an ONNX model; its initializers are the network's default weights.

    Example:
        >>> model = gs.load_onnx("resnet50.onnx")
        >>> client.gradients(model, None, {"data": x, "y": y}, loss=gs.softmax_cross_entropy(target="y"))

    Args:
        path: the file: bytes, or text where it ends in ``.onnxtxt``. Data that the model keeps in other files is not
            sent; the server refuses such models.

    Raises:
        OSError: the file cannot be read.
    """
    file = Path(path)
    return Network.imported("onnx_text" if file.suffix == ".onnxtxt" else "onnx", file.read_bytes())


def onnx_text(text: str) -> Network:
    """An ONNX model in ONNX's own text syntax, which the server parses.

    Example:
        >>> gs.onnx_text('''<ir_version: 10, opset_import: ["": 21]>
        ...     square (float[n] x) => (float[n] y) { y = Mul(x, x) }''')
    """
    return Network.imported("onnx_text", text.encode())


def load_loss(path: FilePath) -> Loss:
    """Reads a loss; like `load`, of the contract's `Loss`."""
    return Loss(message_bytes(_read(path, loss_pb2.Loss())))


def _read(path: FilePath, message: _Message, other_endings: tuple[str, ...] = ()) -> _Message:
    file = Path(path)
    try:
        if _is_json(file, other_endings):
            return json_format.Parse(file.read_text(encoding="utf-8"), message)
        message.ParseFromString(file.read_bytes())
        return message
    except (json_format.ParseError, DecodeError, UnicodeDecodeError) as error:
        name = type(message).__name__
        raise InvalidRequest.because(
            f"the file holds no {name.lower()} ({error})",
            field=str(file),
            expected=f"gradserve.v1.{name} as JSON or bytes",
        ) from None


def _is_json(file: Path, other_endings: tuple[str, ...] = ()) -> bool:
    if file.suffix not in _JSON + _BINARY:
        raise InvalidRequest.because(
            "the ending tells the form, and this one tells none",
            field="path",
            given=str(file),
            expected=f"one of {', '.join(_JSON + _BINARY + other_endings)}",
        )
    return file.suffix in _JSON
