"""Networks and losses as files: proto-JSON to read and edit, or the contract's bytes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TypeAlias, TypeVar

from google.protobuf import json_format
from google.protobuf.message import DecodeError, Message

from gradserve.errors import InvalidRequest
from gradserve.losses import Loss
from gradserve.network import Network
from gradserve.tensors import message_bytes
from gradserve.v1 import loss_pb2, network_pb2

FilePath: TypeAlias = str | os.PathLike[str]

_BINARY = (".binpb", ".pb")
_JSON = (".json",)

_Message = TypeVar("_Message", bound=Message)


def save(content: Network | Loss, path: FilePath) -> None:
    """Writes a network or a loss.

    Args:
        content: what to write.
        path: ``.json`` writes the contract's JSON form, ``.binpb`` its bytes.

    Raises:
        InvalidRequest: another ending.
        OSError: the file cannot be written.
    """
    file = Path(path)
    message: Message = content.graph if isinstance(content, Network) else content.message
    if _is_json(file):
        file.write_text(json_format.MessageToJson(message, indent=2) + "\n", encoding="utf-8")
    else:
        file.write_bytes(message_bytes(message))


def load(path: FilePath) -> Network:
    """Reads a network.

    Args:
        path: a ``.json`` or ``.binpb`` file, from `save` or any other writer of the contract's
            `Graph`.

    Raises:
        InvalidRequest: another ending, or no network in the file.
        OSError: the file cannot be read.
    """
    return Network(_read(path, network_pb2.Graph()))


def load_loss(path: FilePath) -> Loss:
    """Reads a loss; like `load`, of the contract's `Loss`."""
    return Loss(message_bytes(_read(path, loss_pb2.Loss())))


def _read(path: FilePath, message: _Message) -> _Message:
    file = Path(path)
    try:
        if _is_json(file):
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


def _is_json(file: Path) -> bool:
    if file.suffix not in _JSON + _BINARY:
        raise InvalidRequest.because(
            "the ending tells the form, and this one tells none",
            field="path",
            given=str(file),
            expected=f"one of {', '.join(_JSON + _BINARY)}",
        )
    return file.suffix in _JSON
