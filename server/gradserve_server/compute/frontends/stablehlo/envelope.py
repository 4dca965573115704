"""What lies around the modules of an artifact, bounded before JAX reads it.

The envelope is a flatbuffer: offsets in it can point anywhere, so that a few bytes can describe a tree that is its own
child. JAX's reader trusts it; this one looks at everything that JAX's would look at, and counts.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from typing import Any

from jax._src.export import _export, serialization
from jax._src.export.serialization_generated import Exported

from gradserve_server.common.errors import Problem, Reason
from gradserve_server.compute.mlir.checking import outside_window

# Of the envelope's format; JAX reads all between them, and says so where it defines the newest.
_OLDEST_FORMAT, _NEWEST_FORMAT = 2, serialization._SERIALIZATION_VERSION  # noqa: SLF001
_OLDEST_CONVENTION = _export.minimum_supported_calling_convention_version
_NEWEST_CONVENTION = _export.maximum_supported_calling_convention_version

# Parts of one envelope: arguments, nodes of trees, axes, names.
_MOST_PARTS = 50_000
_MOST_TREE_DEPTH = 32
_MOST_NAME_BYTES = 512
_MOST_SIZE_BYTES = 100
# Derivatives of derivatives that are looked at; what lies deeper is cut off.
_MOST_ORDERS = 3

# A size as JAX prints it. Powers of sums could grow without bounds when they are multiplied out.
_POWER = re.compile(r"(\)|\d)\s*\^|\^\s*\d\d")
_HUGE = re.compile(r"\d{19}")

_MALFORMED = (struct.error, IndexError, ValueError, TypeError, OverflowError, UnicodeDecodeError, AttributeError)


def check_envelope(content: bytes, field: str) -> int:
    """Refuses an envelope that JAX should not read.

    Args:
        content: a serialized ``jax.export.Exported``.
        field: its path in the request.

    Returns:
        How many times its function can be differentiated, as far as anyone will ask.

    Raises:
        Problem: it is malformed, too large, or of a version of JAX that this server does not read.
    """
    check = _Check(field)
    try:
        exported = Exported.GetRootAsExported(content, 0)
        orders = 0
        check.exported(exported)
        while orders < _MOST_ORDERS and (exported := exported.Vjp()):
            orders += 1
            check.exported(exported)
    except _MALFORMED as error:
        raise Problem(
            Reason.MALFORMED_NETWORK, f"not a function serialized by jax.export ({error})", field=field
        ) from None
    return orders


class _Check:
    def __init__(self, field: str) -> None:
        self.field = field
        self.left = _MOST_PARTS

    def exported(self, exported: Any) -> None:
        self.version(exported)
        self.name(exported.FunctionName())
        for of in ("UniqueAvals", "InAvals", "OutAvals"):
            self.each(exported, of, self.value)
        for of in ("InAvalsIdxs", "OutAvalsIdxs", "InShardingsIdxs", "OutShardingsIdxs", "ModuleKeptVarIdx"):
            self.take(self.length(exported, of))
        for of in ("UniqueAbstractMeshes", "UniqueNamedShardings"):
            if self.length(exported, of):
                raise self.sharded()
        for of in ("InShardings", "OutShardings"):
            self.each(exported, of, self.sharding)
        self.tree(exported.InTree(), 0)
        self.tree(exported.OutTree(), 0)
        self.each(exported, "Platforms", self.name)
        if self.length(exported, "OrderedEffects") or self.length(exported, "UnorderedEffects"):
            raise Problem(
                Reason.UNSUPPORTED_OPERATION,
                "the function has side effects, such as printing or calling back into Python",
                field=self.field,
                metadata={"operation": "effects"},
            )
        self.each(exported, "DisabledChecks", lambda check: self.name(check.CustomCallTarget() or b""))

    def version(self, exported: Any) -> None:
        for what, given, oldest, newest in (
            ("format", exported.SerializationVersion(), _OLDEST_FORMAT, _NEWEST_FORMAT),
            ("calling convention", exported.CallingConventionVersion(), _OLDEST_CONVENTION, _NEWEST_CONVENTION),
        ):
            if not oldest <= given <= newest:
                raise outside_window(self.field, what, str(given), str(oldest), str(newest))

    def length(self, table: Any, of: str) -> int:
        return int(getattr(table, f"{of}Length")())

    def take(self, parts: int) -> None:
        self.left -= parts
        if self.left < 0:
            raise Problem(
                Reason.TOO_LARGE,
                "the function's signature is too large",
                field=self.field,
                expected=f"at most {_MOST_PARTS} arguments, results, axes and names in all",
            )

    def each(self, table: Any, of: str, check: Callable[[Any], object]) -> None:
        length = self.length(table, of)
        self.take(length)
        for index in range(length):
            check(getattr(table, of)(index))

    def name(self, name: bytes | None) -> None:
        if len(name or b"") > _MOST_NAME_BYTES:
            raise Problem(
                Reason.TOO_LARGE, "a name is too long", field=self.field, expected=f"at most {_MOST_NAME_BYTES} bytes"
            )

    def value(self, value: Any) -> None:
        self.each(value, "Shape", self.size)

    def size(self, size: bytes) -> None:
        text = size.decode("ascii")
        if len(text) > _MOST_SIZE_BYTES or _POWER.search(text) or _HUGE.search(text):
            raise Problem(
                Reason.TOO_LARGE, "the size of an axis is too long an expression", field=self.field, given=text
            )

    def sharding(self, sharding: Any) -> None:
        if sharding.NamedSharding() is not None or not sharding.HloShardingProtoIsNone():
            raise self.sharded()

    def sharded(self) -> Problem:
        return Problem(
            Reason.UNSUPPORTED_OPERATION,
            "the function is laid out over devices by its exporter",
            field=self.field,
            hint="Export it without shardings.",
            metadata={"operation": "sharding"},
        )

    def tree(self, tree: Any, depth: int) -> None:
        if depth > _MOST_TREE_DEPTH:
            raise Problem(
                Reason.TOO_DEEP,
                "the tree of arguments or results is too deep",
                field=self.field,
                expected=f"at most {_MOST_TREE_DEPTH} levels",
            )
        self.each(tree, "ChildrenNames", self.name)
        self.each(tree, "Children", lambda child: self.tree(child, depth + 1))
        self.name(tree.CustomName())
