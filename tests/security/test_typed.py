"""What counts as typed."""

import pytest

from lightsweep.config import permissions


@pytest.mark.parametrize(
    ("arguments", "covered"),
    [
        (["a.b=1"], {"a.b"}),
        (["+a.b=1", "++c='x y'", "d="], {"a.b", "c", "d"}),
        (["a={b:{c:1},d:[1,2]}"], {"a.b.c", "a.d"}),
        (["optimizer=adam", "callbacks=[default,ema]"], {"optimizer", "callbacks"}),
        (["--config-dir", "x", "-m", "~a.b", "~a.b=1", "latest", "a b=("], set()),
        (["a.b={}"], {"a.b"}),
    ],
)
def test_keys_with_a_value_are_typed(arguments: list[str], covered: set[str]) -> None:
    assert set(permissions.read_typed(arguments).values) == covered


def test_a_value_that_came_from_elsewhere_is_not_typed() -> None:
    said = permissions.read_typed(["a.b=/mine", "c=1,2", "d=${a.b}/x", "gone=1"])
    held = said.holding_in({"a": {"b": "/other"}, "c": 2, "d": "${a.b}/x"})
    assert set(held.values) == {"c", "d"}
    assert set(said.holding_in({"a": {"b": "/mine"}, "c": 3, "d": "/mine/x"}).values) == {"a.b"}
    assert set(said.holding_in({"a": 5}).values) == set()


def test_variables_are_found_wherever_they_are_typed() -> None:
    said = permissions.read_typed(
        ["data_dir=${oc.env:SCRATCH}/x", "--data", "data.root=${oc.env:HOME,/tmp}", "a='${oc.env: B}'"]
    )
    assert said.variables == {"SCRATCH", "HOME", "B"}
