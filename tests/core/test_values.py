"""Values that are written as overrides are read back unchanged, whatever characters they hold."""

from pathlib import Path

import optuna
import pytest
import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

import toy
from lightsweep.core.overrides import decode_choice, format_override, format_value
from lightsweep.sweeper.grammar import parse

TEXTS = [
    *("/d/My Photos (2024)", "/a=b", "a,b", "it's", 'say "x"', "both ' and \"", "C:\\new\\", '\\"', "\\'", "end\\"),
    *("null", "true", "1", "1e-3", " lead", "trail ", "", "[1]", "{a:1}", "choice(1,2)", "ünï/猫", "~/x", "a:b"),
    *("tab\tx", "%s", "$HOME", "a;b|c&d", "x#y", "[open", "(", "}", "interval(0,1)", "-1", "+x", "=", "nan", "a b  c"),
]
VALUES = [
    *TEXTS,
    None,
    True,
    False,
    1,
    1.5,
    1e-05,
    1e22,
    [1, "a,b", None],
    ["null", " "],
    ["end\\", "x"],
    {"l2": 0.1, "name": "x (y)"},
]
VALUES.append(["end\\", "x"])


def read(line: str) -> object:
    return OverridesParser.create().parse_override(line).value()


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_a_formatted_value_is_read_back(value: object) -> None:
    back = read(f"key={format_value(value)}")
    assert (back, type(back)) == (value, type(value))


@pytest.mark.parametrize("text", [text for text in TEXTS if text != "null"], ids=repr)
def test_a_choice_reaches_its_trial(text: str) -> None:
    quoted = '"' + text.replace('"', '\\"') + '"' if "\\" not in text else format_value(text)
    space = parse({"data.root": f"choice({quoted},other)"}, {}, [])
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    trials = [study.ask() for _ in range(12)]
    drawn = [read(line) for trial in trials for line in space.suggest(trial)]
    assert set(drawn) == {text, "other"}
    assert [read(line) for trial in trials for line in space.overrides(trial)] == drawn
    point, remarks = space.point({"data.root": text})
    assert (decode_choice(point["data.root"]), remarks) == (text, [])


def test_texts_that_differ_by_case_or_spaces_are_different_choices() -> None:
    space = parse({"data.root": 'choice("/d/A b","/d/a b","/d/ab")'}, {}, [])
    for text in ("/d/A b", "/d/a b", "/d/ab"):
        assert decode_choice(space.point({"data.root": text})[0]["data.root"]) == text


@pytest.mark.parametrize("line", ["null,0.5", "choice('null',0.5)"])
def test_null_is_a_choice(line: str) -> None:
    choices = parse({"model.dropout": line}, {}, []).parameters[0].distribution.choices
    assert [read(format_override("model.dropout", choice)) for choice in choices] == [None, 0.5]


def test_choices_are_stored_as_in_earlier_versions() -> None:
    lines = {"a": "choice(relu,gelu)", "b": "choice([512,256],[64])", "c": "'x','y'", "d": "choice(true,1,0.5)"}
    found = {each.key: each.distribution.choices for each in parse(lines, {}, []).parameters}
    assert found == {"a": ("relu", "gelu"), "b": ("[512,256]", "[64]"), "c": ("'x'", "'y'"), "d": (True, 1, 0.5)}


def test_fixed_values_of_a_file_are_read_as_yaml() -> None:
    text = "{s: 'choice(1,2)', a: null, b: true, c: [1, 'x y'], d: 1.0e-5, e: plain, f: '\"(quoted)\"'}"
    fixed = parse(yaml.safe_load(text), {}, []).fixed
    values = {line[0]: read(line) for line in fixed}
    assert values == {"a": None, "b": True, "c": [1, "x y"], "d": 1e-5, "e": "plain", "f": "(quoted)"}


@pytest.mark.parametrize(("suggested", "value"), [("(x)", "(x)"), ("[8,4]", [8, 4]), (None, None), ("a b", "a b")])
def test_a_value_that_a_users_function_suggests_reaches_its_trial(suggested: object, value: object) -> None:
    space = parse({}, {}, [], lambda trial: trial.suggest_categorical("model.x", [suggested]))
    (line,) = space.suggest(optuna.create_study().ask())
    assert read(line) == value


def test_texts_with_spaces_and_brackets_reach_the_trials_and_the_best_config(launch, tmp_path: Path) -> None:
    names, folder = ["Fotos (2024)", "b=c, d"], tmp_path / "data's [home]"
    choices = ",".join(f'"{name}"' for name in names)
    done = launch(
        *("sweep=custom", "data=digits", "data.limit=100", f"name=choice({choices})", f'data_dir="{folder}"'),
        *("hydra.sweeper.n_trials=3", "hydra.sweeper.n_jobs=0", "hydra/sweeper/sampler=grid", "model.width=4"),
        *("trainer=cpu", "trainer.max_epochs=1", "logger=none", "callbacks=none", f"hydra.sweep.dir={tmp_path}/study"),
        main=toy.main,
    )
    assert done.code == 0, done.err
    configs = [OmegaConf.load(file) for file in sorted((tmp_path / "study").glob("trial-*/config.yaml"))]
    assert {config.name for config in configs} == set(names)
    assert {config.data_dir for config in configs} == {str(folder)}
    best = OmegaConf.load(tmp_path / "study" / "best.yaml")
    assert best.name in names
    assert best.data_dir == str(folder)
