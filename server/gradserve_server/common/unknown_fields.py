"""Refuses what this server does not know: half of a request answered would be a wrong gradient."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.unknown_fields import UnknownFieldSet

from gradserve_server.common.errors import Problem, Reason


def refuse_unknown(message: Message, field: str) -> None:
    """Raises a `Problem` for the first unknown field or enum value in `message` or below it.

    A member of a oneof that is not known here arrives as an unknown field, and so is refused as well.
    """
    for unknown in _unknown(message):
        raise Problem(
            Reason.UNKNOWN_FIELD,
            f"this server does not know the field of number {unknown.field_number}",
            field=field,
            given=f"field {unknown.field_number} of {message.DESCRIPTOR.name}",
            hint="The caller may be newer than the server.",
        )
    for descriptor, value in message.ListFields():
        place = f"{field}.{descriptor.name}" if field else descriptor.name
        if descriptor.type == FieldDescriptor.TYPE_MESSAGE:
            for where, inner in _messages(descriptor, value, place):
                refuse_unknown(inner, where)
        elif descriptor.type == FieldDescriptor.TYPE_ENUM:
            kind = descriptor.enum_type
            assert kind is not None
            for number in value if descriptor.is_repeated else (value,):
                if number not in kind.values_by_number:
                    raise Problem(
                        Reason.UNKNOWN_FIELD,
                        "this server does not know the value",
                        field=place,
                        given=f"{number} of {kind.name}",
                        hint="The caller may be newer than the server.",
                    )


def _unknown(message: Message) -> Iterator[Any]:
    fields: Any = UnknownFieldSet(message)
    yield from fields


def _messages(descriptor: FieldDescriptor, value: Any, place: str) -> Iterator[tuple[str, Message]]:
    if not descriptor.is_repeated:
        yield place, value
        return
    entry = descriptor.message_type
    if entry is not None and entry.GetOptions().map_entry:
        if entry.fields_by_name["value"].type == FieldDescriptor.TYPE_MESSAGE:
            for key in value:
                yield f"{place}.{key}", value[key]
        return
    for index, inner in enumerate(value):
        yield f"{place}[{index}]", inner
