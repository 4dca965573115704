"""One module, parsed and checked before anything is made of it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, final

from jaxlib import _jax
from jaxlib.mlir import ir, passmanager
from jaxlib.mlir._mlir_libs import _jax_mlir_ext
from jaxlib.mlir.dialects import chlo, mhlo, sdy, stablehlo

from gradserve_server.common.errors import Problem, Reason, shorten
from gradserve_server.common.specs import Limits
from gradserve_server.compute.mlir.operations import COMPOSITES, CUSTOM_CALLS, OPERATIONS
from gradserve_server.compute.mlir.types import Form, agrees, bytes_of, name_of, static_form

# "ML", "R", the format's own version, and who wrote it.
_HEADER = re.compile(rb"ML\xefR.{1,9}?StableHLO_v(\d{1,6})\.(\d{1,6})\.(\d{1,6})\x00", re.DOTALL)
_MOST_DEPTH = 64
# A constant of one number repeated is a few bytes here and all of them once compiled.
_MOST_CONSTANT_BYTES = 256 << 20
# Reported at once; error details of more than a few kilobytes get lost.
_MOST_REPORTED = 12

# Attributes of dialects that say nothing to XLA, or what the module must say anyway.
_HARMLESS = re.compile(r"jax\..*|tf\.aliasing_output|mhlo\.num_(partitions|replicas)")
_NONE: frozenset[str] = frozenset()
_OF_CUSTOM_CALLS = frozenset({"mhlo.backend_config", "mhlo.frontend_attributes", "sdy.sharding_rule"})


def checked_module(
    content: bytes, inputs: Sequence[Form], outputs: Sequence[Form], limits: Limits, field: str
) -> bytes:
    """The module, written anew after it was checked, so that what runs is what was looked at, and nothing besides.

    Refused is a module that may do what a network must not, or that is not what the artifact says it is.

    Args:
        content: a portable artifact of StableHLO.
        inputs: what its function ``main`` must take.
        outputs: what it must give.
        limits: bounds on its size.
        field: path of the artifact in the request.

    Raises:
        Problem: with all that is not supported, where there is more than one thing.
    """
    _check_version(content, field)
    with _context() as context:
        said: list[str] = []

        def hear(diagnostic: Any) -> bool:
            said.append(str(diagnostic.message))
            return True  # and it is not printed

        handler: Any = context.attach_diagnostic_handler(hear)
        try:
            module = _jax.mlir.deserialize_portable_artifact(content)
        except (_jax.JaxRuntimeError, ValueError) as error:
            raise Problem(
                Reason.MALFORMED_NETWORK, f"not a StableHLO module ({'; '.join(said) or error})", field=field
            ) from None
        finally:
            handler.detach()
        try:
            checked = _Walk(limits, field)
            checked.walk(module.operation)
            checked.refuse()
            checked.check_calls()
            checked.check_main(inputs, outputs)
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            # A name that is no text, an attribute of another kind.
            raise Problem(Reason.MALFORMED_NETWORK, f"not a StableHLO module ({error})", field=field) from None
        # A few bytes can describe locations that would fill the memory once they are written out.
        passmanager.PassManager.parse("builtin.module(strip-debuginfo)").run(module.operation)
        return bytes(_jax.mlir.serialize_portable_artifact(module, stablehlo.get_current_version(), False))


def _context() -> ir.Context:
    """A context that knows the dialects of JAX's modules."""
    context = ir.Context()
    registry = ir.DialectRegistry()
    _jax_mlir_ext.register_dialects(registry)
    context.append_dialect_registry(registry)
    context.load_all_available_dialects()
    # One module at a time needs no threads.
    context.enable_multithreading(False)
    sdy.register_dialect(context)
    mhlo.register_mhlo_dialect(context)
    chlo.register_dialect(context)
    stablehlo.register_dialect(context)
    return context


def outside_window(field: str, what: str, given: str, oldest: str, newest: str) -> Problem:
    """An artifact of a version of JAX that this server does not read."""
    return Problem(
        Reason.INCOMPATIBLE_ARTIFACT,
        f"the artifact's {what} is of a version that this server does not read",
        field=field,
        given=given,
        expected=f"{oldest} to {newest}",
        hint="Export it with a version of JAX near the server's, which GetServerInfo tells.",
    )


def _check_version(content: bytes, field: str) -> None:
    found = _HEADER.match(content)
    if found is None:
        raise Problem(Reason.MALFORMED_NETWORK, "not a StableHLO module", field=field, expected="MLIR bytecode")
    given = ".".join(part.decode() for part in found.groups())
    oldest, newest = stablehlo.get_minimum_version(), stablehlo.get_current_version()
    if not _version(oldest) <= _version(given) <= _version(newest):
        raise outside_window(field, "StableHLO", given, oldest, newest)


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split("."))


@final
class _Walk:
    """Everything in one module, counted and looked at once."""

    def __init__(self, limits: Limits, field: str) -> None:
        self.limits = limits
        self.field = field
        self.count = 0
        self.constants = 0
        self.functions: dict[str, Any] = {}
        # Operations of each function itself, and the functions that it calls, as often as it does.
        self.sizes: dict[str, int] = {}
        self.calls: dict[str, list[str]] = {}
        self.unsupported: dict[str, str] = {}
        self.known_types: dict[Any, int | None] = {}

    def walk(self, root: Any) -> None:
        """Looks at each operation; with a stack of its own, as nesting can be deep."""
        stack: list[tuple[Iterator[Any], int, str]] = [(iter([root]), 0, "")]
        while stack:
            operations, depth, function = stack[-1]
            operation = next(operations, None)
            if operation is None:
                stack.pop()
                continue
            operation = operation.operation
            if depth > _MOST_DEPTH:
                raise Problem(
                    Reason.TOO_DEEP,
                    "operations are nested too deeply",
                    field=self.field,
                    expected=f"at most {_MOST_DEPTH} levels",
                )
            self.count += 1
            if self.count > self.limits.nodes:
                raise self.too_large()
            if operation.name == "func.func":
                function = self.function(operation, depth)
            self.look(operation, function)
            stack += [(iter(block.operations), depth + 1, function) for region in operation.regions for block in region]

    def function(self, operation: Any, depth: int) -> str:
        name = str(operation.attributes["sym_name"].value)
        if depth != 1 or not any(True for _ in operation.regions[0]):
            raise self.malformed(f"the function '{name}' has no body, or is nested")
        self.functions[name] = operation
        self.sizes[name] = 0
        self.calls[name] = []
        for of in ("arg_attrs", "res_attrs"):
            for attributes in operation.attributes.get(of, ()):
                self.check_attributes(attributes, _NONE, name)
        return name

    def look(self, operation: Any, function: str) -> None:
        """Counts one operation, and notes what about it is not supported."""
        name = operation.name
        if function:
            self.sizes[function] += 1
        if name not in OPERATIONS:
            self.report(f"operation {name}", function)
            return
        for value in operation.results:
            self.check_type(value.type, function)
        for region in operation.regions:
            for block in region:
                for argument in block.arguments:
                    self.check_type(argument.type, function)
        match name:
            case "stablehlo.custom_call":
                self.custom_call(operation, function)
            case "func.call":
                self.calls[function].append(str(operation.attributes["callee"].value))
            case "stablehlo.composite":
                if not operation.attributes["name"].value.startswith(COMPOSITES):
                    self.report(f"composite {operation.attributes['name'].value}", function)
                self.calls[function].append(str(operation.attributes["decomposition"].value))
            case "stablehlo.constant":
                self.constant(operation)
        own = _OF_CUSTOM_CALLS if name == "stablehlo.custom_call" else _NONE
        self.check_attributes(operation.attributes, own, function)

    def check_attributes(self, attributes: Any, own: frozenset[str], function: str) -> None:
        """Notes attributes by which a dialect of XLA would change what an operation means, or where it runs."""
        for attribute in attributes:
            name = attribute if isinstance(attribute, str) else attribute.name
            if "." in name and name not in own and not _HARMLESS.fullmatch(name):
                self.report(f"attribute {name}", function)

    def check_type(self, type_: Any, function: str) -> None:
        """Notes a type that is none of ours, and refuses a tensor that no run could hold."""
        if type_ not in self.known_types:
            self.known_types[type_] = bytes_of(type_)
        size = self.known_types[type_]
        if size is None:
            self.report(f"type {name_of(type_)}", function)
        elif size > self.limits.memory_bytes:
            raise Problem(
                Reason.TOO_LARGE,
                "a tensor of the module is too large",
                field=self.field,
                node=function,
                given=str(type_),
                expected=f"at most {self.limits.memory_bytes} bytes",
            )

    def constant(self, operation: Any) -> None:
        self.constants += self.known_types.get(operation.results[0].type) or 0
        if self.constants > _MOST_CONSTANT_BYTES:
            raise Problem(
                Reason.TOO_LARGE,
                "the module's constants are too large",
                field=self.field,
                expected=f"at most {_MOST_CONSTANT_BYTES} bytes in all",
                hint="Pass large arrays as weights or inputs.",
            )

    def custom_call(self, operation: Any, function: str) -> None:
        target = str(operation.attributes["call_target_name"].value)
        known = CUSTOM_CALLS.get(target)
        if known is None:
            self.report(f"custom call {target}", function)
            return
        operands = [static_form(value.type) for value in operation.operands]
        results = [static_form(value.type) for value in operation.results]
        letters = _letters(operation)
        fits = all(one is not None and one[0] in known.types for one in (*operands, *results))
        fits = fits and all(letters.get(name) in some for name, some in known.letters.items())
        shapes = [one[1] for one in operands if one], [one[1] for one in results if one]
        try:
            fits = fits and known.fits(*shapes, letters)
        except (ValueError, IndexError):
            fits = False
        if not fits:
            if any(isinstance(value.type, ir.RankedTensorType) and not value.type.has_static_shape
                   for value in (*operation.operands, *operation.results)):  # fmt: skip
                self.report(f"custom call {target} of a size that the batch decides", function)
            else:
                raise self.malformed(f"the custom call '{target}' does not have the form that it must have")

    def report(self, what: str, function: str) -> None:
        """Notes what is not supported, and the first function that has it; locations can be too long to look at."""
        self.unsupported.setdefault(shorten(what, 120), shorten(function, 120))

    def refuse(self) -> None:
        """Refuses all that was noted at once."""
        if not self.unsupported:
            return
        listed = [f"{what} in {place}" for what, place in self.unsupported.items()]
        more = len(listed) - _MOST_REPORTED
        shown = listed[:_MOST_REPORTED] + ([f"and {more} more"] if more > 0 else [])
        first = next(iter(self.unsupported))
        raise Problem(
            Reason.UNSUPPORTED_OPERATION,
            f"this server does not run {first}" + (f", nor {len(listed) - 1} more" if len(listed) > 1 else ""),
            field=self.field,
            node=self.unsupported[first],
            hint="Callbacks, collectives and kernels of one's own cannot be served.",
            metadata={"operation": first, "unsupported": "; ".join(shown)},
        )

    def check_calls(self) -> None:
        """Refuses functions that call themselves, and calls that multiply beyond the limit."""
        expanded: dict[str, int] = {}
        for root in self.functions:
            stack = [(root, iter(self.calls[root]))]
            on_way = {root}
            while stack:
                name, callees = stack[-1]
                callee = next(callees, None)
                if callee is None:
                    expanded[name] = self.sizes[name] + sum(expanded[one] for one in self.calls[name])
                    if expanded[name] > self.limits.nodes:
                        raise self.too_large()
                    on_way.discard(name)
                    stack.pop()
                elif callee in on_way:
                    raise Problem(
                        Reason.INVALID_NETWORK, "a function calls itself", field=self.field, node=callee, given=name
                    )
                elif callee not in self.functions:
                    raise self.malformed(f"the function '{callee}' is called and not there")
                elif callee not in expanded:
                    stack.append((callee, iter(self.calls[callee])))
                    on_way.add(callee)

    def check_main(self, inputs: Sequence[Form], outputs: Sequence[Form]) -> None:
        """Refuses a function ``main`` that does not take and give what the artifact says."""
        main = self.functions.get("main")
        if main is None:
            raise self.malformed("it has no function 'main'")
        type_ = ir.FunctionType(main.attributes["function_type"].value)
        for of, given, wanted in (("argument", type_.inputs, inputs), ("result", type_.results, outputs)):
            if len(given) != len(wanted):
                raise self.malformed(f"'main' has {len(given)} {of}s and the artifact says {len(wanted)}")
            for index, (one, form) in enumerate(zip(given, wanted, strict=True)):
                if not agrees(one, form):
                    raise self.malformed(f"{of} {index} of 'main' is {one} and the artifact says {form}")

    def malformed(self, what: str) -> Problem:
        return Problem(Reason.MALFORMED_NETWORK, f"the module does not hold together: {what}", field=self.field)

    def too_large(self) -> Problem:
        return Problem(
            Reason.TOO_LARGE,
            "the module has too many operations, those of called functions counted at each call",
            field=self.field,
            expected=f"at most {self.limits.nodes}",
            hint="Write what repeats as jax.lax.scan.",
        )


def _letters(operation: Any) -> dict[str, int]:
    attributes = operation.attributes
    config = attributes.get("mhlo.backend_config", ())
    return {one.name: int(one.attr.value) for one in config if isinstance(one.attr, ir.IntegerAttr)}
