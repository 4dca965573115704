"""A loss as it was sent: its bytes, checked as far as that goes without data."""

from __future__ import annotations

from google.protobuf.message import DecodeError

from gradserve.v1 import loss_pb2
from gradserve_server.common.errors import Problem, Reason
from gradserve_server.common.specs import Limits
from gradserve_server.common.unknown_fields import refuse_unknown
from gradserve_server.compute.frontends.graph.custom import CustomGraph
from gradserve_server.compute.losses.cotangents import Cotangents
from gradserve_server.compute.losses.custom import Custom
from gradserve_server.compute.losses.formula import FormulaLoss
from gradserve_server.compute.losses.formulas import FORMULAS
from gradserve_server.compute.losses.loss import Loss
from gradserve_server.compute.losses.total import Term, Total
from gradserve_server.compute.losses.weighting import Weighting

NAMES = frozenset({*FORMULAS, "cotangents", "custom", "sum"})


def load_loss(content: bytes, limits: Limits, field: str = "loss") -> Loss:
    """The loss in a serialized ``Loss``.

    Raises:
        Problem: the bytes are no loss, or it does not hold together.
    """
    try:
        message = loss_pb2.Loss.FromString(content)
    except DecodeError as error:
        raise Problem(Reason.MALFORMED_REQUEST, f"not a serialized Loss ({error})", field=field) from None
    refuse_unknown(message, field)
    return _read(message, field, limits)


def sum_of_outputs(outputs: tuple[str, ...]) -> Loss:
    """The sum of all elements of the outputs named."""
    terms = []
    for name in outputs:
        message = loss_pb2.Loss(output=loss_pb2.Loss.Output(prediction=name), reduction=loss_pb2.Loss.REDUCTION_SUM)
        terms.append(Term(name, FormulaLoss(message, "output", "loss")))
    return Total(tuple(terms), "loss")


def _read(message: loss_pb2.Loss, field: str, limits: Limits) -> Loss:
    kind = message.WhichOneof("formula")
    match kind:
        case None:
            raise Problem(
                Reason.MISSING_FIELD, "the loss has no formula", field=field, expected=", ".join(sorted(NAMES))
            )
        case "custom":
            content = message.custom.graph.SerializeToString(deterministic=True)
            graph = CustomGraph.load(content, limits, f"{field}.custom.graph")
            return Custom(graph, Weighting.read(message), f"{field}.custom")
        case "cotangents":
            return _read_cotangents(message, field)
        case "sum":
            return _read_sum(message, field, limits)
        case _ if kind in FORMULAS:
            return FormulaLoss(message, kind, field)
    raise Problem(
        Reason.UNSUPPORTED_LOSS,
        f"the loss '{kind}' is not served yet",
        field=f"{field}.{kind}",
        given=kind,
        hint=f"Served are: {', '.join(sorted(NAMES))}.",
        metadata={"loss": kind},
    )


def _read_cotangents(message: loss_pb2.Loss, field: str) -> Cotangents:
    _refuse_weighting(message, field, "products are added up as they are: scale the cotangents")
    names = tuple(sorted(message.cotangents.by_output))
    if not names:
        raise Problem(Reason.MISSING_FIELD, "no output has a cotangent", field=f"{field}.cotangents.by_output")
    return Cotangents(names, f"{field}.cotangents", stacked=message.cotangents.stacked)


def _read_sum(message: loss_pb2.Loss, field: str, limits: Limits) -> Total:
    _refuse_weighting(message, field, "a sum has none of its own: its terms have")
    if not message.sum.terms:
        raise Problem(Reason.MISSING_FIELD, "a sum needs at least one term", field=f"{field}.sum.terms")
    terms: list[Term] = []
    for index, term in enumerate(message.sum.terms):
        place = f"{field}.sum.terms[{index}]"
        if not term.name:
            raise Problem(Reason.MISSING_FIELD, "a term needs a name", field=f"{place}.name")
        if any(term.name == other.name for other in terms):
            raise Problem(
                Reason.DUPLICATE_NAME, "another term has this name", field=f"{place}.name", given=repr(term.name)
            )
        if term.HasField("weight") and term.weight != 0:
            # Finite ones were taken out, to travel as data.
            raise Problem(Reason.INVALID_VALUE, "not a finite number", field=f"{place}.weight", given=str(term.weight))
        if term.loss.WhichOneof("formula") == "sum":
            raise Problem(Reason.INVALID_LOSS, "a term may not be a sum itself", field=f"{place}.loss")
        if term.loss.cotangents.stacked:
            raise Problem(
                Reason.INVALID_LOSS,
                "a term is one number, and stacked cotangents are many",
                field=f"{place}.loss.cotangents.stacked",
            )
        loss = _read(term.loss, f"{place}.loss", limits)
        terms.append(Term(term.name, loss, counts=not term.HasField("weight")))
    return Total(tuple(terms), field)


def _refuse_weighting(message: loss_pb2.Loss, field: str, why: str) -> None:
    """Refuses a reduction or example weights where there is nothing to reduce or to weigh."""
    if message.reduction or message.example_weights:
        name = "reduction" if message.reduction else "example_weights"
        raise Problem(Reason.INVALID_LOSS, why, field=f"{field}.{name}")
