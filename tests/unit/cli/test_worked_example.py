"""The worked example of the demo against numbers worked out on paper."""

import math

import pytest

from gradserve.demo.worked_example import Numbers, backward_by_hand, by_hand, network, served
from tests.unit.trace_view import samples

# z1 = 0.5 * 2 + 0.1, h1 = z1, z2 = 0.3 * 1.1 + 0.2; y = 1 / (1 + exp(-0.53)) and all that follows
# from it with 40 digits of decimal arithmetic.
BY_HAND = {
    "z1": 1.1,
    "h1": 1.1,
    "z2": 0.53,
    "y": 0.6294831119673948723453435,
    "L": 0.4628562535503843681743275,
    "dL/dy": -1.588604969678355196015465,
    "dL/dz2": -0.3705168880326051276546565,
    "dL/dh1": -0.1111550664097815382963969,
    "dL/dz1": -0.1111550664097815382963969,
    "dL/dw1": -0.2223101328195630765927939,
    "dL/db1": -0.1111550664097815382963969,
    "dL/dw2": -0.4075685768358656404201221,
    "dL/db2": -0.3705168880326051276546565,
    "dL/dx": -0.05557753320489076914819847,
}


def test_it_is_what_paper_says() -> None:
    rows = {row.name: row.value for row in by_hand(Numbers())}
    assert rows == pytest.approx(BY_HAND, rel=0, abs=1e-12)


def test_it_is_the_slope_of_its_own_loss() -> None:
    given = {"x": 1.3, "w1": 0.7, "b1": -0.2, "w2": -0.4, "b2": 0.6}
    slopes = {row.name: row.value for row in by_hand(Numbers(**given))}
    for name, value in given.items():
        step = 1e-6
        up, down = (
            next(row.value for row in by_hand(Numbers(**given | {name: to})) if row.name == "L")
            for to in (value + step, value - step)
        )
        assert slopes[f"dL/d{name}"] == pytest.approx((up - down) / (2 * step), abs=1e-8)


def test_there_are_nine_gradients_each_after_what_it_is_made_of() -> None:
    rows = backward_by_hand(Numbers())
    assert [row.name for row in rows] == [
        f"dL/d{name}" for name in ("y", "z2", "b2", "w2", "h1", "z1", "b1", "w1", "x")
    ]
    known = {"dL/dL"}
    for row in rows:
        assert {word for word in row.formula.split() if word.startswith("dL/")} <= known
        known.add(row.name)


def test_a_trace_has_all_that_is_worked_out_by_hand() -> None:
    numbers = served(samples.worked_example())
    for row in by_hand(Numbers()):
        assert numbers[row.name] == pytest.approx(row.value, abs=1e-12)


def test_the_network_is_in_float64_with_its_steps_as_outputs() -> None:
    assert network().outputs == ("z1", "h1", "z2", "y")
    assert [str(one) for one in network().inputs] == ["x: float64[batch]"]


def test_nothing_flows_through_a_unit_that_is_off() -> None:
    rows = {row.name: row.value for row in by_hand(Numbers(b1=-3.0))}
    assert (rows["h1"], rows["dL/dw1"], rows["dL/db1"], rows["dL/dx"]) == (0.0, 0.0, 0.0, 0.0)
    assert rows["dL/db2"] == pytest.approx(1 / (1 + math.exp(-0.2)) - 1, abs=1e-15)
