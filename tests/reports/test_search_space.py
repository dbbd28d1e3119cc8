"""Axes span what was searched."""

import math

import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import create_trial

from lightsweep.reports.trials import ParameterRange, find_ranges, format_number


def of(*distributions: BaseDistribution) -> ParameterRange:
    values = [each.choices[0] if isinstance(each, CategoricalDistribution) else each.low for each in distributions]
    trials = [
        create_trial(value=0.0, params={"x": value}, distributions={"x": each})
        for value, each in zip(values, distributions, strict=True)
    ]
    return find_ranges(trials)["x"]


@pytest.mark.parametrize(
    ("low", "high", "labels"),
    [
        (1e-4, 1e-1, ["1e-4", "1e-3", "0.01", "0.1"]),
        (3e-6, 2e-2, ["1e-5", "1e-4", "1e-3", "0.01"]),
        (2e-4, 5e-4, ["2e-4", "5e-4"]),
        (0.5, 3.0, ["0.5", "3"]),
        (1e-9, 1e3, ["1e-9", "1e-6", "1e-3", "1", "1000"]),
    ],
)
def test_logarithmic_axes_are_labelled_by_powers_of_ten_alone(low: float, high: float, labels: list[str]) -> None:
    axis = of(FloatDistribution(low, high, log=True)).axis()
    assert axis["type"] == "log"
    assert axis["ticktext"] == labels
    assert len(axis["tickvals"]) == len(labels)


@pytest.mark.parametrize(
    "distribution",
    [
        FloatDistribution(0.0, 0.5),
        FloatDistribution(-3.0, 7.0),
        IntDistribution(16, 4096, log=True),
        IntDistribution(1, 9),
    ],
)
def test_an_axis_shows_the_whole_range_and_little_more(distribution: FloatDistribution | IntDistribution) -> None:
    axis = of(distribution).axis()
    scale = math.log10 if distribution.log else float
    low, high = scale(distribution.low), scale(distribution.high)
    assert axis["range"][0] < low < high < axis["range"][1]
    assert axis["range"][1] - axis["range"][0] < 1.1 * (high - low)


def test_choices_that_were_never_sampled_are_on_the_axis_too() -> None:
    found = of(CategoricalDistribution([True, None, "relu"]))
    assert (
        found.axis()["categoryarray"] == ["true", "null", "relu"] == [found.at(True), found.at(None), found.at("relu")]
    )
    assert found.share(None) == 0.5


def test_ranges_of_a_changed_study_are_joined() -> None:
    assert of(FloatDistribution(0.1, 0.5), FloatDistribution(0.3, 2.0)) == ParameterRange(0.1, 2.0, is_log=False)
    joined = of(CategoricalDistribution(["a", "b"]), CategoricalDistribution(["b", "c"]))
    assert joined.choices == ("a", "b", "c")
    assert of(FloatDistribution(1, 2), CategoricalDistribution(["a"])).choices == ("a",)


@pytest.mark.parametrize(
    ("value", "edge"),
    [(1e-4, "lower"), (1.1e-4, "lower"), (2e-4, None), (0.03, None), (0.09, "upper"), (0.1, "upper")],
)
def test_a_value_near_an_end_is_at_the_edge(value: float, edge: str | None) -> None:
    assert of(FloatDistribution(1e-4, 0.1, log=True)).edge(value) == edge


def test_choices_and_single_values_have_no_edge() -> None:
    assert of(CategoricalDistribution([1, 2])).edge(1) is None
    single = ParameterRange(3.0, 3.0, is_log=False)
    assert single.edge(3.0) is None
    assert single.share(3.0) == 0.5
    assert single.axis()["range"] == [2.5, 3.5]


@pytest.mark.parametrize(
    ("value", "text"),
    [(1e-5, "1e-5"), (0.00437, "4.37e-3"), (0.25, "0.25"), (1000, "1000"), (0, "0"), (2**20, "1.05e6")],
)
def test_numbers_are_formatted_as_people_type_them(value: float, text: str) -> None:
    assert format_number(value) == text
