"""Network, loss, what to differentiate and options, made into one pure function of arrays."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from gradserve_server.common.errors import Problem, Reason, near
from gradserve_server.common.specs import ArraySpec, Mode, ProgramSpec, ResultSpec, Selection
from gradserve_server.compute.losses import Loss, LossValue
from gradserve_server.compute.network import Check, Context, Network, Signature, bind
from gradserve_server.compute.selection import choose

Arrays = dict[str, jax.Array]


@dataclasses.dataclass
class Traced:
    """What tracing a `Computation` finds out beside its values: known once it has been traced."""

    numbers: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()


@dataclasses.dataclass(frozen=True)
class Computation:
    """One request as a pure function, checked against the forms of what was sent.

    Attributes:
        network: the network.
        loss: the loss; None for a forward pass without one.
        signature: of the network, for these shapes.
        dtype: floating-point type of weights, loss and gradients.
        spec: what was asked.
        weights: forms of all weights, statistics included, in order of name.
        selected: parameters to differentiate, in forward order.
    """

    network: Network
    loss: Loss | None
    signature: Signature
    dtype: Any
    spec: ProgramSpec
    weights: tuple[ArraySpec, ...]
    selected: tuple[str, ...]

    def __call__(self, traced: Traced, weights: Arrays, batch: Arrays, seed: jax.Array) -> dict[str, Arrays]:
        """Results by group and name. Fills `traced` in passing."""
        parameters = {name: weights[name].astype(self.dtype) for name in self.signature.parameters}
        statistics = {name: weights[name] for name in self.signature.statistics}
        if self.loss is None:
            outputs, _, context = self._forward(parameters, statistics, batch, seed)
            return self._results(traced, context, outputs, {})
        if self.spec.kind == "forward":
            outputs, value, context = self._forward(parameters, statistics, batch, seed)
            assert value is not None
            return self._results(traced, context, outputs, _loss_numbers(value))
        return self._gradients(traced, parameters, statistics, batch, seed)

    def _gradients(
        self, traced: Traced, parameters: Arrays, statistics: Arrays, batch: Arrays, seed: jax.Array
    ) -> dict[str, Arrays]:
        left: list[Context] = []

        def objective(chosen: Arrays, inputs: Arrays) -> tuple[jax.Array, Any]:
            outputs, value, context = self._forward(parameters | chosen, statistics, batch | inputs, seed)
            assert value is not None
            left[:] = [context]
            failed = [check.failed for check in context.checks]
            return value.loss, (
                outputs,
                value.weight_sum,
                value.terms,
                context.updated_statistics,
                failed,
            )

        chosen = {name: parameters[name] for name in self.selected}
        inputs = {name: batch[name].astype(self.dtype) for name in self.spec.selection.inputs}
        (loss, aux), (gradients, input_gradients) = jax.value_and_grad(objective, argnums=(0, 1), has_aux=True)(
            chosen, inputs
        )
        outputs, weight_sum, terms, updated, failed = aux
        # What tracing left in the context belongs to the inner trace; the values come out through `aux`.
        context = dataclasses.replace(
            left[0],
            updated_statistics=updated,
            checks=[Check(value, check.problem) for value, check in zip(failed, left[0].checks, strict=True)],
        )
        norms = {name: norm(gradients[name]) for name in self.selected}
        global_norm = norm(jnp.stack(list(norms.values()))) if norms else jnp.zeros((), jnp.float64)
        finite = jnp.isfinite(loss)
        for gradient in (*gradients.values(), *input_gradients.values()):
            finite &= jnp.all(jnp.isfinite(gradient))
        clip = self.spec.selection.clip_global_norm
        if clip:
            # A norm that is not finite leaves the gradients as they are: `finite` says so.
            factor = jnp.where(global_norm > clip, clip / global_norm, 1.0)
            factor = jnp.where(jnp.isfinite(global_norm), factor, 1.0)
            gradients = {name: (value * factor.astype(value.dtype)) for name, value in gradients.items()}
        numbers = _loss_numbers(LossValue(loss, weight_sum, terms)) | {
            "global_norm": global_norm,
            "finite": finite,
        }
        numbers |= {f"norm:{name}": value for name, value in norms.items()}
        results = self._results(traced, context, outputs, numbers)
        if not self.spec.selection.summary_only:
            sent = {one.name: one.dtype for one in (*self.weights, *self.spec.batch)}
            wire = self.spec.selection.dtype
            results["gradient"] = {name: gradients[name].astype(wire or sent[name]) for name in self.selected}
            results["input_gradient"] = {
                name: input_gradients[name].astype(wire or sent[name]) for name in self.spec.selection.inputs
            }
        results["updated_statistic"] = {
            name: value.astype(self.dtype) for name, value in context.updated_statistics.items()
        }
        return results

    def _forward(
        self, parameters: Arrays, statistics: Arrays, batch: Arrays, seed: jax.Array
    ) -> tuple[Arrays, LossValue | None, Context]:
        shared = set(self.spec.shared)
        weights_names = self.loss.weights_names if self.loss else ()
        present = _present(batch, [name for name in weights_names if name in batch and name not in shared])
        if present is not None:
            batch = _without_absent_rows(batch, present, shared | set(weights_names), keep_finite=self.keeps_rows)
        context = Context(
            dtype=self.dtype,
            training=self.spec.mode is Mode.TRAINING,
            key=jax.random.key(seed),
            example_weights=None if present is None else present.astype(self.dtype),
        )
        outputs = self.network.apply(
            parameters,
            statistics,
            {spec.name: batch[spec.name] for spec in self.network.inputs},
            context,
        )
        value = None
        if self.loss is not None:
            value = self.loss.evaluate(outputs, batch, parameters, context)
        return outputs, value, context

    @property
    def keeps_rows(self) -> bool:
        """Whether the answer shows outputs, so that rows of weight 0 must stay what they are where they can."""
        return self.spec.kind == "forward" or bool(self.spec.outputs)

    def _results(
        self, traced: Traced, context: Context, outputs: Arrays, numbers: Mapping[str, jax.Array]
    ) -> dict[str, Arrays]:
        traced.numbers = tuple(numbers)
        traced.problems = tuple(check.problem for check in context.checks)
        wanted = self.spec.outputs or (self.network.outputs if self.spec.kind == "forward" else ())
        results: dict[str, Arrays] = {"output": {name: outputs[name] for name in wanted}}
        if numbers:
            vector = jnp.stack([jnp.asarray(value, jnp.float64).reshape(()) for value in numbers.values()])
            results["numbers"] = {"numbers": vector}
        if context.checks:
            results["checks"] = {"checks": jnp.stack([check.failed for check in context.checks])}
        return results


def norm(values: jax.Array) -> jax.Array:
    """Euclidean norm as a float64 scalar.

    Squares of float32 fit float64; those of float64 are kept from under- and overflow by the largest element.
    """
    if values.dtype != jnp.float64:
        return jnp.sqrt(jnp.sum(jnp.square(values.astype(jnp.float64))))
    largest = jnp.max(jnp.abs(values), initial=0.0)
    scale = jnp.where((largest > 0) & jnp.isfinite(largest), largest, 1.0)
    return scale * jnp.sqrt(jnp.sum(jnp.square(values / scale)))


def _loss_numbers(value: LossValue) -> dict[str, jax.Array]:
    numbers = {"loss": value.loss, "weight_sum": value.weight_sum}
    return numbers | {f"term:{name}": term for name, term in value.terms.items()}


def _present(batch: Arrays, names: list[str]) -> jax.Array | None:
    """For each example, whether any of its weights is not 0; None where there are no weights."""
    if not names:
        return None
    present = None
    for name in names:
        weights = batch[name]
        own = jnp.any((weights != 0).reshape(weights.shape[0], -1), axis=1)
        present = own if present is None else present | own
    return present


def _without_absent_rows(batch: Arrays, present: jax.Array, keep: set[str], *, keep_finite: bool) -> Arrays:
    """`batch` with each example of weight 0 replaced by one that counts.

    Its gradient is multiplied by 0, and 0 times what is not finite would be NaN: a real row is safe.

    Args:
        batch: tensors by name.
        present: [batch], whether an example counts.
        keep: tensors to leave alone.
        keep_finite: leave rows alone that hold finite numbers only.
    """
    stand_in = jnp.argmax(present)
    result = dict(batch)
    for name, values in batch.items():
        if name in keep:
            continue
        replace = ~present
        if keep_finite:
            if not jnp.issubdtype(values.dtype, jnp.floating):
                continue
            replace &= ~jnp.all(jnp.isfinite(values).reshape(values.shape[0], -1), axis=1)
        mask = replace.reshape((-1,) + (1,) * (values.ndim - 1))
        result[name] = jnp.where(mask, values[stand_in][None], values)
    return result


def build(spec: ProgramSpec, network: Network, loss: Loss | None) -> Computation:
    """The computation that `spec` asks for.

    Raises:
        Problem: network, loss, weights, batch and selection do not fit together.
    """
    dtype = computing_type(network, spec.weights)
    batch = {one.name: jax.ShapeDtypeStruct(one.shape, one.dtype) for one in spec.batch}
    bind(network.inputs, batch)
    _check_batch_names(network, loss, spec)
    signature = network.signature({one.name: batch[one.name] for one in network.inputs}, dtype)
    if signature.mode_matters and spec.mode is Mode.UNSPECIFIED:
        raise Problem(
            Reason.MODE_REQUIRED,
            "this node behaves differently in training",
            field="options.mode",
            node=signature.mode_matters,
            expected="MODE_TRAINING or MODE_INFERENCE",
        )
    if spec.weights is None:
        weights = all_weights(signature, dtype)
    else:
        weights = spec.weights
        check_weights(signature, weights)
    for index, name in enumerate(spec.outputs):
        if name not in network.outputs:
            raise Problem(
                Reason.UNKNOWN_NAME,
                "the network has no such output",
                field=f"outputs[{index}]",
                given=repr(name),
                hint=near(name, network.outputs),
            )
    _check_inputs(network, spec.selection)
    selected: tuple[str, ...] = ()
    if not spec.selection.without_parameters:
        selected = choose(signature.parameters, spec.selection.parameters, "gradients.parameters")
    return Computation(network, loss, signature, dtype, spec, weights, selected)


def computing_type(network: Network, weights: tuple[ArraySpec, ...] | None) -> Any:
    """float64 where a weight is; where none is sent, where an input is; else float32."""
    types = [one.dtype for one in weights] if weights else [one.dtype for one in network.inputs]
    return jnp.float64 if "float64" in types else jnp.float32


def all_weights(signature: Signature, dtype: Any) -> tuple[ArraySpec, ...]:
    """Forms of all parameters and statistics in order of name."""
    name = jnp.dtype(dtype).name
    both = _shapes(signature)
    return tuple(ArraySpec(path, name, both[path]) for path in sorted(both))


def _shapes(signature: Signature) -> dict[str, tuple[int, ...]]:
    shapes = {one.name: one.shape for one in signature.parameters.values()}
    return shapes | {one.name: one.shape for one in signature.statistics.values()}


def check_weights(signature: Signature, weights: tuple[ArraySpec, ...]) -> None:
    """Refuses weights that are missing, not known, or of another shape."""
    needed = _shapes(signature)
    given = {one.name: one for one in weights}
    for name, one in given.items():
        if name not in needed:
            raise Problem(
                Reason.UNKNOWN_NAME,
                "the network has no such parameter",
                field=f"weights.{name}",
                given=str(one),
                hint=near(name, [path for path in needed if path not in given] or needed),
            )
    missing = [name for name in needed if name not in given]
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise Problem(
            Reason.MISSING_TENSOR,
            f"a weight was not sent{more}",
            field=f"weights.{missing[0]}",
            expected=f"float[{', '.join(str(size) for size in needed[missing[0]])}]",
        )
    for name, one in given.items():
        if one.shape != needed[name]:
            raise Problem(
                Reason.SHAPE_MISMATCH,
                "wrong shape",
                field=f"weights.{name}",
                given=str(one),
                expected=f"{one.dtype}[{', '.join(str(size) for size in needed[name])}]",
            )


def _check_batch_names(network: Network, loss: Loss | None, spec: ProgramSpec) -> None:
    known = {one.name for one in network.inputs} | (loss.tensors if loss else frozenset())
    for one in spec.batch:
        if one.name not in known:
            raise Problem(
                Reason.UNKNOWN_NAME,
                "neither the network nor the loss takes it",
                field=f"batch.{one.name}",
                given=str(one),
                hint=near(one.name, sorted(known)),
            )


def _check_inputs(network: Network, selection: Selection) -> None:
    inputs = {one.name: one for one in network.inputs}
    for index, name in enumerate(selection.inputs):
        field = f"gradients.inputs[{index}]"
        if name not in inputs:
            raise Problem(
                Reason.UNKNOWN_NAME,
                "the network has no such input",
                field=field,
                given=repr(name),
                hint=near(name, inputs),
            )
        if not jnp.issubdtype(jnp.dtype(inputs[name].dtype), jnp.floating):
            raise Problem(
                Reason.NOT_DIFFERENTIABLE,
                "only floating-point inputs have gradients",
                field=field,
                given=str(inputs[name]),
            )
        if name in selection.inputs[:index]:
            raise Problem(Reason.DUPLICATE_NAME, "named twice", field=field, given=repr(name))
    if selection.without_parameters and not selection.inputs:
        raise Problem(
            Reason.MISSING_FIELD,
            "without gradients of parameters, inputs must be named",
            field="gradients.inputs",
        )


def result_specs(
    results: Mapping[str, Mapping[str, jax.ShapeDtypeStruct]],
) -> tuple[ResultSpec, ...]:
    """Forms of the arrays that a run gives, in the order in which it gives them."""
    return tuple(
        ResultSpec(group, ArraySpec(name, str(value.dtype), tuple(value.shape)))
        for group, arrays in results.items()
        for name, value in arrays.items()
    )
