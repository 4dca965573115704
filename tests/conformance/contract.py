"""What messages set, by the contract's own names: so that tests can tell what no row of a table varies."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message


def used(message: Message) -> Iterator[str]:
    """``Pooling.window`` for each field that is set, ``Pooling.FUNCTION_MAX`` for each choice, here and inside."""
    for field, value in message.ListFields():
        yield name(field)
        for one in _values(field, value):
            if isinstance(one, Message):
                yield from used(one)
            elif field.enum_type is not None:
                yield choice(field.enum_type, field.enum_type.values_by_number[one].name)


def declared(message: Descriptor, without: Collection[str] = ()) -> Iterator[str]:
    """As `used`, for all that the contract has in this message and inside.

    Args:
        message: where to begin.
        without: messages, fields, and enumerations whose choices are left out.
    """
    seen: set[str] = set()

    def walk(one: Descriptor) -> Iterator[str]:
        if one.full_name in seen:
            return
        seen.add(one.full_name)
        for field in one.fields:
            inside = field.message_type
            if name(field) in without or (inside is not None and inside.name in without):
                continue
            yield name(field)
            if inside is not None and not inside.GetOptions().map_entry:
                yield from walk(inside)
            if field.enum_type is not None and field.enum_type.name not in without:
                yield from (choice(field.enum_type, value.name) for value in field.enum_type.values if value.number)

    return walk(message)


def name(field: FieldDescriptor) -> str:
    return f"{field.containing_type.name}.{field.name}"


def choice(kind: EnumDescriptor, value: str) -> str:
    """Unspecified ones are no choice."""
    return f"{kind.containing_type.name if kind.containing_type else kind.name}.{value}"


def _values(field: FieldDescriptor, value: Any) -> list[Any]:
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        return list(value.values())
    return list(value) if field.is_repeated else [value]
