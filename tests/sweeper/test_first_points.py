"""Points that are far apart."""

import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from lightsweep.sweeper.auto import distance, farthest

SPACE = {
    "lr": FloatDistribution(1e-4, 1e-2, log=True),
    "depth": IntDistribution(1, 5),
    "width": CategoricalDistribution((256, 64, 128)),
    "act": CategoricalDistribution(("relu", "tanh")),
    "bn": CategoricalDistribution((True, False)),
    "one": IntDistribution(3, 3),
}
POINT = {"lr": 1e-3, "depth": 3, "width": 128, "act": "relu", "bn": True, "one": 3}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, 0.0),
        ({"lr": 1e-4}, 0.5),
        ({"depth": 5}, 0.5),
        ({"width": 256}, 0.5),
        ({"width": 64}, 0.5),
        ({"act": "tanh"}, 1.0),
        ({"bn": False}, 1.0),
    ],
)
def test_a_difference_is_a_part_of_the_range(change: dict, expected: float) -> None:
    assert distance(POINT, POINT | change, SPACE) == pytest.approx(expected**2)
    assert distance(POINT | change, POINT, SPACE) == pytest.approx(expected**2)


def test_squares_add_up() -> None:
    assert distance(POINT, POINT | {"lr": 1e-4, "act": "tanh"}, SPACE) == pytest.approx(1.25)


def test_the_nearest_known_point_counts() -> None:
    space = {"x": FloatDistribution(0.0, 1.0)}
    points = [{"x": value} for value in (0.1, 0.5, 0.95)]
    assert farthest(points, [{"x": 0.0}, {"x": 1.0}], space) == {"x": 0.5}
    assert farthest(points, [{"x": 0.0}], space) == {"x": 0.95}
    assert farthest(points, [], space) == {"x": 0.1}
