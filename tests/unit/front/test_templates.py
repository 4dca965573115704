"""Requests that differ in elements only are told from those that differ in more, in the loss as well."""

from __future__ import annotations

from gradserve.v1 import gradient_service_pb2 as service
from gradserve.v1 import loss_pb2
from gradserve_server.front.convert import Task, gradients_task
from gradserve_server.front.templates import Template, make
from tests.unit.front.scaling_worker import gradients_request, tensor

Request = service.ComputeGradientsRequest


def task_of(content: bytes) -> Task:
    return gradients_task(Request.FromString(content), 1 << 20)


def template_of(request: Request) -> Template:
    content = request.SerializeToString()
    template = make(content, task_of(content))
    assert template is not None
    return template


def request_with(loss: loss_pb2.Loss) -> Request:
    request = gradients_request()
    request.loss.CopyFrom(loss)
    return request


def cotangent(value: float, dtype: str = "float32") -> loss_pb2.Loss:
    return loss_pb2.Loss(cotangents=loss_pb2.Loss.Cotangents(by_output={"y": tensor([value, 1.0], dtype)}))


def total(weight: float, slope: float) -> loss_pb2.Loss:
    loss = loss_pb2.Loss()
    loss.sum.terms.add(name="a", weight=weight, loss=loss_pb2.Loss(output=loss_pb2.Loss.Output()))
    loss.sum.terms.add(name="b", loss=cotangent(slope))
    return loss


def assert_read_alike(template: Template, request: Request) -> None:
    content = request.SerializeToString()
    assert template.fits(content)
    filled, read = template.fill(content), task_of(content)
    assert filled.spec == read.spec
    assert filled.seeds == read.seeds
    assert [bytes(one) for one in filled.arrays] == [bytes(one) for one in read.arrays]


def test_another_cotangent_is_read_from_where_it_lies() -> None:
    template = template_of(request_with(cotangent(1.0)))
    assert_read_alike(template, request_with(cotangent(-7.0)))
    assert not template.fits(request_with(cotangent(1.0, "float16")).SerializeToString())


def test_cotangents_and_weights_of_terms_are_told_apart() -> None:
    template = template_of(request_with(total(0.5, 1.0)))
    assert_read_alike(template, request_with(total(0.5, 3.0)))
    # Another weight is in what must not differ: 0 among them is another program.
    for weight in (0.25, 0.0):
        assert not template.fits(request_with(total(weight, 1.0)).SerializeToString())


def test_cotangents_as_numbers_are_kept_with_the_rest() -> None:
    request = request_with(cotangent(1.0))
    request.loss.cotangents.by_output["y"].values.number.extend([1.0, 2.0])
    template = template_of(request)
    assert_read_alike(template, request)
    request.loss.cotangents.by_output["y"].values.number[0] = 5.0
    assert not template.fits(request.SerializeToString())


def test_a_loss_in_two_pieces_is_left_to_the_parser() -> None:
    content = request_with(cotangent(1.0)).SerializeToString()
    again = Request(loss=cotangent(2.0)).SerializeToString()
    assert make(content + again, task_of(content + again)) is None
