"""The grammar of a search space against a table, and the table against the official sweeper."""

import warnings

import pytest
from omegaconf import OmegaConf

from grammar_table import SINCE_1_4, TABLE, describe, drawn_from
from lightsweep.core.errors import ConfigError
from lightsweep.sweeper.grammar import parse
from lightsweep.sweeper.space import grid_of

OVERRIDES = {**TABLE, **SINCE_1_4}
SHUFFLED = [line for line in OVERRIDES if "shuffle(" in line]  # the official sweeper's order is another at each start


@pytest.mark.parametrize("line", OVERRIDES)
@pytest.mark.filterwarnings("ignore:.*deprecated")
def test_an_override_is_drawn_from_what_the_table_says(line: str) -> None:
    assert drawn_from(line) == OVERRIDES[line]


@pytest.mark.parametrize("line", [line for line in OVERRIDES if line not in SHUFFLED])
def test_the_table_is_what_the_official_sweeper_draws_from(line: str) -> None:
    from hydra_plugins.hydra_optuna_sweeper._impl import create_params_from_overrides

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            found, _, _ = create_params_from_overrides([line])
        except Exception:
            assert OVERRIDES[line] == "refused"
        else:
            assert OVERRIDES[line] == describe(next(iter(found.values()), None))


def test_the_table_has_all_of_the_grammar() -> None:
    assert len(TABLE) >= 60
    for word in ("choice(", "range(", "interval(", "tag(log", "shuffle(", "sort(", "glob(", "int(", "float(", "str("):
        assert any(word in line for line in TABLE), word


@pytest.mark.parametrize(
    ("line", "values"),
    [
        ("range(0,1,0.1)", [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]),
        ("range(0.1,0.5,0.1)", [0.1, 0.2, 0.3, 0.4]),
        ("range(0.5,0.1,-0.1)", [0.2, 0.3, 0.4, 0.5]),
        ("range(1e-5,5e-5,1e-5)", [1e-5, 2e-5, 3e-5, 4e-5]),
        ("range(1,2,0.3)", [1.0, 1.3, 1.6, 1.9]),
        ("range(10,1,-3)", [4, 7, 10]),
        ("range(3)", [0, 1, 2]),
        ("choice(true,null_,0.3)", [True, "null_", 0.3]),
    ],
)
def test_a_grid_has_the_values_as_they_are_written(line: str, values: list) -> None:
    assert grid_of(parse({"a.b": line}, {}, [])) == {"a.b": values}


@pytest.mark.parametrize("line", ["a.b=choice(inf,nan)", "a.b=interval(1,inf)", "a.b=range(0,1e30)", "a.b=glob(*)"])
def test_what_nobody_can_draw_from_is_named(line: str) -> None:
    with pytest.raises(ConfigError, match=r"a\.b="):
        parse({}, {}, [line])


def test_a_comma_that_yaml_took_for_the_end_of_a_value_is_explained() -> None:
    when = OmegaConf.to_container(OmegaConf.create("{opt=sgd: {momentum: interval(0, 0.9)}}"))
    with pytest.raises(ConfigError, match="momentum=interval.0: a . is missing; between the braces of YAML"):
        parse({"opt": "choice(sgd,adam)"}, when, [])  # type: ignore[arg-type]
