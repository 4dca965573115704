"""The closed form of the demo against numbers worked out by hand."""

import math

import pytest

from gradserve.demo.worked_example import Numbers, closed_form

# z1 = 0.5 * 2 + 0.1, h1 = z1, z2 = 0.3 * 1.1 + 0.2; y = 1 / (1 + exp(-0.53)) and all that follows
# from it with 40 digits of decimal arithmetic.
BY_HAND = {
    "z1": 1.1,
    "h1": 1.1,
    "z2": 0.53,
    "y": 0.6294831119673948723453435,
    "L": 0.4628562535503843681743275,
    "dL/dw1": -0.2223101328195630765927939,
    "dL/db1": -0.1111550664097815382963969,
    "dL/dw2": -0.4075685768358656404201221,
    "dL/db2": -0.3705168880326051276546565,
    "dL/dx": -0.05557753320489076914819847,
}


def test_the_closed_form_is_what_a_hand_computes() -> None:
    rows = {row.name: row.value for row in closed_form(Numbers())}
    assert rows == pytest.approx(BY_HAND, rel=0, abs=1e-12)


def test_the_closed_form_is_the_slope_of_its_own_loss() -> None:
    given = {"x": 1.3, "w1": 0.7, "b1": -0.2, "w2": -0.4, "b2": 0.6}
    slopes = {row.name: row.value for row in closed_form(Numbers(**given))}
    for name, value in given.items():
        step = 1e-6
        up, down = (
            next(row.value for row in closed_form(Numbers(**given | {name: to})) if row.name == "L")
            for to in (value + step, value - step)
        )
        assert slopes[f"dL/d{name}"] == pytest.approx((up - down) / (2 * step), abs=1e-8)


def test_nothing_flows_through_a_unit_that_is_off() -> None:
    rows = {row.name: row.value for row in closed_form(Numbers(b1=-3.0))}
    assert (rows["h1"], rows["dL/dw1"], rows["dL/db1"], rows["dL/dx"]) == (0.0, 0.0, 0.0, 0.0)
    assert rows["dL/db2"] == pytest.approx(1 / (1 + math.exp(-0.2)) - 1, abs=1e-15)
