"""Checks of typed values: which are accepted, and the message for the others."""

import math

import pytest

from lightsweep.core import checks
from lightsweep.core.errors import ConfigError


@pytest.mark.parametrize(
    ("interval", "inside", "outside"),
    [
        ("[0, 1)", [0, 0.0, 0.999], [-0.001, 1, 1.5]),
        ("(0, 1]", [1e-9, 1], [0, 1.001]),
        ("(0, inf)", [1e-12, 1e300], [0, -1, math.inf]),
        ("[0, inf)", [0, 7], [-1e-9, math.nan, math.inf, "1", None, True, [1]]),
    ],
)
def test_number_accepts_values_in_the_interval_only(interval: str, inside: list, outside: list) -> None:
    for value in inside:
        checks.number("key", value, interval)
    for value in outside:
        with pytest.raises(ConfigError):
            checks.number("key", value, interval)


@pytest.mark.parametrize("value", [1.0, True, "1", None, 0])
def test_integer_refuses_other_types_and_values_outside_the_interval(value: object) -> None:
    checks.integer("key", 1, "[1, inf)")
    with pytest.raises(ConfigError):
        checks.integer("key", value, "[1, inf)")


@pytest.mark.parametrize(
    ("check", "value", "rule", "message"),
    [
        (checks.number, 1.5, "[0, 1)", "model.dropout must be in [0, 1), got 1.5"),
        (checks.number, -1, "(0, inf)", "model.dropout must be > 0, got -1"),
        (checks.number, "x", "[0, inf)", "model.dropout must be >= 0, got 'x'"),
        (checks.integer, 0, "[1, inf)", "model.dropout must be an integer >= 1, got 0"),
        (checks.choice, "foo", ("relu", "gelu"), "model.dropout must be one of relu, gelu, got 'foo'"),
        (checks.choice, None, ("relu",), "model.dropout must be one of relu, got None"),
    ],
)
def test_the_message_names_key_rule_and_value(check, value: object, rule: object, message: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        check("model.dropout", value, rule)
    assert str(refusal.value) == message


@pytest.mark.parametrize("value", [0, 1, "true", None])
def test_flag_accepts_true_and_false_only(value: object) -> None:
    checks.flag("test", True)
    checks.flag("test", False)
    with pytest.raises(ConfigError, match="test must be true or false, got"):
        checks.flag("test", value)
