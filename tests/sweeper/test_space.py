"""Search spaces in Hydra's grammar: dimensions, conditions, and the nearest point inside."""

import optuna
import pytest
from omegaconf import OmegaConf
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from lightsweep.core.errors import ConfigError
from lightsweep.sweeper.grammar import parse
from lightsweep.sweeper.space import grid_of, values_of

WHEN = {
    "optimizer=sgd": {"optimizer.lr": "tag(log, interval(1e-3, 1e-1))", "optimizer.momentum": "choice(0.8, 0.9)"},
    "optimizer=adam": {"optimizer.lr": "tag(log, interval(1e-4, 1e-2))"},
}


@pytest.mark.parametrize(
    ("line", "distribution"),
    [
        ("tag(log, interval(1e-4, 1e-2))", FloatDistribution(1e-4, 1e-2, log=True)),
        ("interval(0.0, 0.5)", FloatDistribution(0.0, 0.5)),
        ("choice(64, 128)", CategoricalDistribution((64, 128))),
        ("choice(true, false)", CategoricalDistribution((True, False))),
        ("range(1, 5)", IntDistribution(1, 4)),
        ("tag(log, int(interval(64, 1024)))", IntDistribution(64, 1024, log=True)),
    ],
)
def test_the_official_grammar(line: str, distribution) -> None:
    assert parse({"model.width": line}, {}, []).parameters[0].distribution == distribution


def test_the_command_line_wins_over_the_file() -> None:
    space = parse({"a.x": "choice(1, 2)", "a.y": "choice(1, 2)"}, {}, ["a.x=range(0, 2)", "a.y=3", "a.z=7"])
    assert {parameter.key: str(parameter.distribution) for parameter in space.parameters} == {
        "a.x": "IntDistribution(high=1, log=False, low=0, step=1)"
    }
    assert space.fixed == ("a.y=3", "a.z=7")


def test_a_deleted_key_leaves_the_space() -> None:
    space = parse({"model.width": "choice(1, 2)", "model.dropout": "choice(0.1, 0.2)"}, {}, ["~model.width"])
    assert [parameter.key for parameter in space.parameters] == ["model.dropout"]
    assert space.fixed == ()


def test_conditions_give_each_choice_a_dimension_of_its_own() -> None:
    space = parse({"optimizer": "choice(adam, sgd)"}, WHEN, [])
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    seen = set()
    for _ in range(20):
        trial = study.ask()
        overrides = dict(override.split("=", 1) for override in space.suggest(trial))
        optimizer = overrides["optimizer"]
        seen.add(optimizer)
        low, high = {"sgd": (1e-3, 1e-1), "adam": (1e-4, 1e-2)}[optimizer]
        assert low <= float(overrides["optimizer.lr"]) <= high
        assert ("optimizer.momentum" in overrides) == (optimizer == "sgd")
        assert tuple(f"{key}={value}" for key, value in overrides.items()) == space.overrides(trial)
    assert seen == {"adam", "sgd"}


def test_a_value_typed_for_a_conditional_key_holds_under_every_condition() -> None:
    space = parse({"optimizer": "choice(adam, sgd)"}, WHEN, ["optimizer.lr=0.01"])
    assert "optimizer.lr=0.01" in space.fixed
    assert [parameter.name for parameter in space.parameters] == ["optimizer", "optimizer=sgd:optimizer.momentum"]


def test_a_conditional_key_that_is_deleted_leaves_the_space_not_the_config() -> None:
    space = parse({"optimizer": "choice(adam, sgd)"}, WHEN, ["~optimizer.lr"])
    assert [parameter.name for parameter in space.parameters] == ["optimizer", "optimizer=sgd:optimizer.momentum"]
    assert space.fixed == ()


def test_conditions_on_what_is_fixed_are_decided_by_it() -> None:
    space = parse({"optimizer": "choice(adam, sgd)"}, WHEN, ["optimizer=sgd"])
    assert space.undecided() == ["optimizer=adam", "optimizer=sgd"]
    settled = space.settled({"optimizer=adam": False, "optimizer=sgd": True})
    assert settled.undecided() == settled.conditions() == []
    trial = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1)).ask()
    assert [line.partition("=")[0] for line in settled.suggest(trial)] == ["optimizer.lr", "optimizer.momentum"]
    with pytest.raises(ConfigError, match=r"hydra\.sweeper\.params must hold at least one range or choice"):
        space.settled({"optimizer=adam": False, "optimizer=sgd": False})
    with pytest.raises(ConfigError, match=r"hydra\.sweeper\.when has optimizer\.lr"):
        space.settled({"optimizer=adam": True, "optimizer=sgd": True})


def test_what_a_decided_condition_lets_in_is_drawn_before_what_depends_on_it() -> None:
    when = {"a.b=1": {"a.c": "choice(5, 6)"}, "a.a=1": {"a.b": "choice(1, 1)"}}
    space = parse({}, when, ["a.a=1"])
    assert space.undecided() == ["a.a=1"]
    trial = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1)).ask()
    drawn = space.settled({"a.a=1": True}).suggest(trial)
    assert [line.partition("=")[0] for line in drawn] == ["a.b", "a.c"]


@pytest.mark.parametrize(
    ("line", "value", "nearest"),
    [
        ("interval(0.1, 0.5)", 0.0, 0.1),
        ("interval(0.1, 0.5)", 0.3, 0.3),
        ("choice(64, 128, 256)", 200, 256),
        ("choice(relu, gelu)", "gelu", "gelu"),
        ("choice(relu, gelu)", "tanh", "relu"),
        ("choice(true, false)", False, False),
        ("range(1, 5)", 9, 4),
        ("range(32, 545, 64)", 90, 96),
        ("range(32, 545, 64)", 544, 544),
        ("choice([512,256], [256,128])", [256, 128], "[256,128]"),
    ],
)
def test_the_nearest_point_inside_and_a_remark_if_it_is_another(line: str, value, nearest) -> None:
    point, remarks = parse({"model.x": line}, {}, []).point({"model.x": value})
    assert point == {"model.x": nearest}
    assert bool(remarks) == (nearest not in (value, str(value).replace(" ", "")))


def test_the_point_of_a_conditional_space_has_its_own_condition_only() -> None:
    space = parse({"optimizer": "choice(adam, sgd)"}, WHEN, [])
    point, _ = space.point({"optimizer": "adam", "optimizer.lr": 0.001, "optimizer.momentum": None})
    assert point == {"optimizer": "adam", "optimizer=adam:optimizer.lr": 0.001}


@pytest.mark.parametrize(
    ("params", "when", "arguments", "message"),
    [
        ({"optimizer.lr": "interval(1, 0)"}, {}, [], r"optimizer\.lr=interval\(1, 0\): .*low <= high"),
        ({}, {}, ["model.width=3"], r"hydra\.sweeper\.params must hold at least one range or choice"),
        ({"a": "choice(x, y)"}, {"a=x": {"b": "3"}}, [], r"hydra\.sweeper\.when\.a=x\.b must be a range or a choice"),
    ],
)
def test_what_cannot_be_searched_is_named(params, when, arguments, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse(params, when, arguments)


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        ("interval(nan,1)", "its bounds must be finite numbers"),
        ("interval(0,inf)", "its bounds must be finite numbers"),
        ("interval(-inf,0)", "its bounds must be finite numbers"),
        ("tag(log,interval(1e-3,inf))", "its bounds must be finite numbers"),
        ("tag(log,interval(nan,1))", "its bounds must be finite numbers"),
        ("range(0,inf)", "its bounds must be finite numbers"),
        ("range(nan,1)", "its bounds must be finite numbers"),
        ("range(0,1,nan)", "its bounds must be finite numbers"),
        ("interval(-1e308,1e308)", "its bounds must not be further apart than a number can be large"),
        ("range(1,1000000000000000000000)", "the bounds of a range of integers must be at most 9007199254740992"),
        ("int(interval(1,1e300))", "the bounds of a range of integers must be at most 9007199254740992"),
        ("choice(nan,0.1)", "a choice must not be nan"),
        ("shuffle(range(1,1000000000000))", "a range that is listed must have at most 10,000 values"),
        ("glob(*)", "a glob must not be searched: list its choices"),
    ],
)
@pytest.mark.parametrize("conditional", [False, True])
def test_bounds_between_which_nothing_can_be_drawn_are_refused(line: str, rule: str, conditional: bool) -> None:
    params, when = ({"b": "choice(1,2)"}, {"b=1": {"a": line}}) if conditional else ({"a": line}, {})
    with pytest.raises(ConfigError) as refusal:
        parse(params, when, [])
    assert str(refusal.value) == f"a={line}: {rule}"


def test_hidden_may_be_searched_when_the_width_is_taken_out() -> None:
    space = parse({"model.width": "choice(1, 2)"}, {}, ["~model.width", "model.hidden=choice([512,256],[256])"])
    assert [parameter.key for parameter in space.parameters] == ["model.hidden"]


def test_a_grid_knows_no_conditions() -> None:
    with pytest.raises(ConfigError, match=r"sampler=grid knows no conditions"):
        grid_of(parse({"optimizer": "choice(adam, sgd)"}, WHEN, []))


@pytest.mark.parametrize(
    ("lines", "points"),
    [
        (["range(1,1000000000000)"], "999,999,999,999"),
        (["range(0,1,0.0000001)"], "10,000,000"),
        (["range(1,1000)", "range(1,1000)", "choice(1,2)"], "1,996,002"),
    ],
)
def test_a_grid_has_so_many_points_as_can_be_listed(lines: list[str], points: str) -> None:
    space = parse({f"a.x{number}": line for number, line in enumerate(lines)}, {}, [])
    with pytest.raises(ConfigError) as refusal:
        grid_of(space)
    assert str(refusal.value) == f"hydra.sweeper.sampler=grid must have at most 1,000,000 points, got {points}"


@pytest.mark.parametrize(("line", "condition"), [("choice(true, false)", "true"), ("choice(0.0, 0.5)", "0")])
def test_a_condition_on_what_is_no_text_holds_too(line: str, condition: str) -> None:
    space = parse({"model.x": line}, {f"model.x={condition}": {"model.y": "choice(1, 2)"}}, [])
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    drawn = [space.suggest(study.ask()) for _ in range(20)]
    with_y = {overrides[0] for overrides in drawn if len(overrides) == 2}
    assert len({overrides[0] for overrides in drawn}) == 2
    assert [line.lower() for line in with_y] in (["model.x=true"], ["model.x=0.0"])
    value = space.parameters[0].distribution.choices[0]
    assert space.point({"model.x": value, "model.y": 2})[0] == {"model.x": value, f"model.x={condition}:model.y": 2}


def test_a_value_that_is_null_is_a_value() -> None:
    space = parse({"model.hidden": "choice('null',[64,32])", "model.dropout": "interval(0.1, 0.5)"}, {}, [])
    config = OmegaConf.create({"model": {"hidden": None, "dropout": None}})
    values = values_of(config, ["model.hidden", "model.dropout", "model.absent"], {})
    assert values.keys() == {"model.hidden", "model.dropout"}
    point, remarks = space.point(values)
    assert point == {"model.hidden": "null", "model.dropout": 0.1}
    assert remarks == ["model.dropout=null lies outside the space, 0.1 is searched from"]
