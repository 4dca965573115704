"""Envelopes of artifacts written by hand, which say what JAX would not."""

from __future__ import annotations

import flatbuffers
from jax._src.export import serialization_generated as flat


def with_versions(format_: int, convention: int) -> bytes:
    """An envelope of these versions of its format and calling convention."""
    builder = flatbuffers.Builder(0)
    flat.ExportedStart(builder)
    flat.ExportedAddSerializationVersion(builder, format_)
    flat.ExportedAddCallingConventionVersion(builder, convention)
    builder.Finish(flat.ExportedEnd(builder))
    return bytes(builder.Output())


def with_tree(levels: int, width: int) -> bytes:
    """An envelope whose tree of arguments has `levels` in which each node is there `width` times."""
    builder = flatbuffers.Builder(0)
    flat.PyTreeDefStart(builder)
    flat.PyTreeDefAddKind(builder, flat.PyTreeDefKind.leaf)
    node = flat.PyTreeDefEnd(builder)
    for _ in range(levels):
        flat.PyTreeDefStartChildrenVector(builder, width)
        for _ in range(width):
            builder.PrependUOffsetTRelative(node)
        children = builder.EndVector()
        flat.PyTreeDefStart(builder)
        flat.PyTreeDefAddKind(builder, flat.PyTreeDefKind.tuple)
        flat.PyTreeDefAddChildren(builder, children)
        node = flat.PyTreeDefEnd(builder)
    name = builder.CreateString("f")
    flat.ExportedStart(builder)
    flat.ExportedAddFunctionName(builder, name)
    flat.ExportedAddSerializationVersion(builder, 11)
    flat.ExportedAddCallingConventionVersion(builder, 10)
    flat.ExportedAddInTree(builder, node)
    flat.ExportedAddOutTree(builder, node)
    builder.Finish(flat.ExportedEnd(builder))
    return bytes(builder.Output())


def with_size(size: str) -> bytes:
    """An envelope with an argument of this size."""
    builder = flatbuffers.Builder(0)
    text, name = builder.CreateString(size), builder.CreateString("f")
    flat.AbstractValueStartShapeVector(builder, 1)
    builder.PrependUOffsetTRelative(text)
    shape = builder.EndVector()
    flat.AbstractValueStart(builder)
    flat.AbstractValueAddShape(builder, shape)
    value = flat.AbstractValueEnd(builder)
    flat.ExportedStartInAvalsVector(builder, 1)
    builder.PrependUOffsetTRelative(value)
    values = builder.EndVector()
    flat.ExportedStart(builder)
    flat.ExportedAddFunctionName(builder, name)
    flat.ExportedAddSerializationVersion(builder, 11)
    flat.ExportedAddCallingConventionVersion(builder, 10)
    flat.ExportedAddInAvals(builder, values)
    builder.Finish(flat.ExportedEnd(builder))
    return bytes(builder.Output())
