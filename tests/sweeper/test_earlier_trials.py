"""What earlier studies and tables know: to the sampler alone, or as points to try first."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
from omegaconf import OmegaConf
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import RandomSampler
from optuna.trial import TrialState, create_trial
from test_samplers import DEFAULTS

from lightsweep.core.errors import ConfigError
from lightsweep.core.files import JOURNAL
from lightsweep.sweeper import warm_start
from lightsweep.sweeper.application import Application
from lightsweep.sweeper.grammar import parse
from lightsweep.sweeper.plan import Plan
from lightsweep.sweeper.settings import read_settings
from lightsweep.sweeper.storage import connect
from lightsweep.sweeper.study_view import ViewSampler

LR, WIDTH = {"lr": "interval(0.1,1)"}, {"width": "choice(8,16)"}
KINDS: dict[str, BaseDistribution] = {
    "lr": FloatDistribution(0.0, 9.0),
    "width": CategoricalDistribution([8, 16, 32]),
    "deep": IntDistribution(1, 9),
}
LEFT_OUT = (
    "left out: 2 failed; 1 pruned; 1 with lr outside the space; 1 with width outside the space;"
    " 1 without a finite value; 1 without width"
)


def planned(folder: Path, *where: str, params: Any = None, application: Any = None, when: Any = None) -> Plan:
    values = {**DEFAULTS, "warm_start": OmegaConf.create(list(where)), "direction": "maximize"}
    settings, _ = read_settings({**values, "metric": "acc"})
    config = OmegaConf.create({"hydra": {"sweep": {"dir": str(folder)}}})
    anything: Any = None
    space = parse(params or {**LR, **WIDTH}, when or {}, [])
    application = application or Application()
    return Plan(settings, config, anything, anything, application, space, optuna.pruners.NopPruner())


def finished(value: Any, **params: Any) -> Any:
    return create_trial(value=value, params=params, distributions={name: KINDS[name] for name in params})


@pytest.fixture
def earlier(tmp_path: Path) -> Any:
    """Make a sweep's folder with these trials."""

    def made(*trials: Any, name: str = "old", **of: Any) -> str:
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        storage = of.pop("storage", None) or connect(str(folder / JOURNAL))
        study = optuna.create_study(
            storage=storage, study_name=of.pop("study", name), direction=of.pop("way", "maximize")
        )
        study.set_metric_names([of.pop("metric", "acc")])
        study.add_trials(trials)
        for key, value in of.items():
            study.set_user_attr(key, value)
        return str(folder)

    return made


def begun(plan: Plan, sampler: Any = None, config: Any = None, **of: Any) -> tuple[optuna.Study, list[str]]:
    """Today's study after the start."""
    study = optuna.create_study(sampler=sampler or ViewSampler(plan.space, RandomSampler(seed=1)), direction="maximize")
    study.set_metric_names(["acc"])
    for key, value in of.items():
        study.set_user_attr(key, value)
    return study, warm_start.begin(plan, study, warm_start.read_earlier(plan), config or {})


def known(study: optuna.Study) -> list[tuple[dict, float]]:
    sampler: Any = study.sampler
    return [(trial.params, trial.value) for trial in sampler.view(study).trials]


def enqueued(study: optuna.Study) -> list[tuple[dict, str]]:
    return [(trial.system_attrs["fixed_params"], trial.user_attrs["note"]) for trial in study.trials]


def test_trials_that_fit_are_known_to_the_sampler_and_never_to_the_study(tmp_path: Path, earlier) -> None:
    old = earlier(
        finished(0.5, lr=0.5, width=8),
        finished(0.6, lr=0.7, width=16),
        finished(0.9, lr=3.0, width=16),
        finished(0.9, lr=0.5, width=32),
        finished(0.9, lr=0.5),
        finished(float("inf"), lr=0.5, width=8),
        create_trial(state=TrialState.PRUNED),
        create_trial(state=TrialState.FAIL),
        create_trial(state=TrialState.FAIL),
    )
    study, lines = begun(planned(tmp_path / "new", old))
    assert known(study) == [({"lr": 0.5, "width": 8}, 0.5), ({"lr": 0.7, "width": 16}, 0.6)]
    assert study.trials == []
    assert lines == [f"warm start: the sampler knows 2 of 9 trials of {old} ({LEFT_OUT})"]


def test_what_was_fixed_there_fills_in_and_what_is_fixed_here_must_agree(tmp_path: Path, earlier) -> None:
    old = earlier(finished(0.5, lr=0.5, deep=3), finished(0.6, lr=0.7, deep=2), config={"width": 16})
    study, lines = begun(planned(tmp_path / "new", old), config={"deep": 3})
    assert known(study) == [({"lr": 0.5, "width": 16}, 0.5)]
    assert lines[0].endswith("(left out: 1 with another deep)")


def test_trials_from_before_a_change_and_repeats_are_left_out(tmp_path: Path, earlier) -> None:
    again = finished(0.8, lr=0.5, width=8)
    again.set_user_attr("repeat_of", 1)
    old = earlier(finished(0.1, lr=0.5, width=8), finished(0.2, lr=0.5, width=8), again, changed_at=1)
    study, lines = begun(planned(tmp_path / "new", old))
    assert [value for _, value in known(study)] == [0.2]
    assert "1 of 2 trials" in lines[0]


def test_under_a_condition_its_parameters_are_asked_for(tmp_path: Path, earlier) -> None:
    old = earlier(finished(0.5, width=8, lr=0.5), finished(0.6, width=16), finished(0.7, width=8))
    study, lines = begun(planned(tmp_path / "new", old, params=WIDTH, when={"width=8": LR}))
    assert known(study) == [({"width": 8, "width=8:lr": 0.5}, 0.5), ({"width": 16}, 0.6)]
    assert lines[0].endswith("(left out: 1 without lr)")


@pytest.mark.parametrize(
    ("of", "today", "reason"),
    [
        ({"metric": "f1"}, {}, "its metric is f1"),
        ({"way": "minimize"}, {}, "acc was minimized"),
        ({"data": "abc"}, {"data": "xyz"}, "its data are others"),
    ],
)
def test_where_values_do_not_compare_the_best_points_are_enqueued(tmp_path: Path, earlier, of, today, reason) -> None:
    trials = [finished(0.1 * step, lr=0.1 + 0.1 * step, width=8) for step in range(6)]
    old = earlier(*trials, finished(9.0, lr=5.0, width=8), **of)
    study, lines = begun(planned(tmp_path / "new", old), **today)
    order = [0, 1, 2] if of.get("way") else [5, 4, 3]
    assert enqueued(study) == [({"lr": trials[step].params["lr"], "width": 8}, f"from {old}") for step in order]
    assert lines == [
        f"warm start: {reason}: the best 3 of 7 points of {old} are enqueued (left out: 1 with lr outside the space)"
    ]
    assert study.sampler.earlier_trials == []  # type: ignore[attr-defined]


def test_the_application_says_whether_data_are_the_same(tmp_path: Path, earlier) -> None:
    from lightsweep.app.sweeping import TRAINING

    config = {"data.split_seed": 1, "optimizer.eps": 1e-8}
    old = earlier(finished(0.5, lr=0.5, width=8), config=config)
    for today, same in (
        ({"data.split_seed": 1, "optimizer.eps": 1.0}, True),
        ({"data.split_seed": 2}, False),
        ({}, True),
    ):
        study, _ = begun(planned(tmp_path / "new", old, application=TRAINING), config=today)
        assert (len(known(study)), len(study.trials)) == ((1, 0) if same else (0, 1))


def test_trials_of_other_data_are_forgotten_as_soon_as_that_is_known(tmp_path: Path, earlier) -> None:
    old = earlier(finished(0.5, lr=0.5, width=8), data="abc")
    study, _ = begun(planned(tmp_path / "new", old))
    said: list[str] = []
    study.sampler.say = said.append  # type: ignore[attr-defined]
    assert len(known(study)) == 1
    study.set_user_attr("data", "abc")
    assert len(known(study)) == 1
    study.set_user_attr("data", "xyz")
    assert known(study) == known(study) == []
    assert said == ["warm start: the sampler forgets 1 earlier trials, whose data were others"]


@pytest.mark.filterwarnings("ignore")
def test_a_sampler_that_learns_from_its_study_only_gets_points(tmp_path: Path, earlier) -> None:
    old = earlier(finished(0.5, lr=0.5, width=8), finished(0.6, lr=0.6, width=8))
    plan = planned(tmp_path / "new", old)
    study, lines = begun(plan, RandomSampler())
    assert [params["lr"] for params, _ in enqueued(study)] == [0.6, 0.5]
    assert lines == [
        f"warm start: RandomSampler learns from its own study only: the best 2 of 2 points of {old} are enqueued"
    ]
    warm_start.begin(plan, study, warm_start.read_earlier(plan), {})  # the sweep is continued
    assert len(study.trials) == 2
    grid = optuna.samplers.GridSampler({"lr": [0.5], "width": [8]})
    assert begun(plan, grid)[0].trials == []


def test_a_table_is_read_as_it_is_written(tmp_path: Path) -> None:
    table = tmp_path / "trials.csv"
    table.write_text(
        "rank,state,acc,lr,width,'+deep,note\n1,complete,0.5,0.25,16,3,'=x\n2,complete,0.4,0.3,32,3,\n,pruned,0.2,0.5,8,3,\n"
        "3,complete,,0.25,16,3,\n4,complete,0.3,fast,16,3,\n5,COMPLETE,0.7,1e-1,8.0,3,\n6,complete,0.2,0.5,8,4,\n"
    )
    study, lines = begun(planned(tmp_path / "new", str(table)), config={"deep": 3, "seed": 1})
    assert known(study) == [({"lr": 0.25, "width": 16}, 0.5), ({"lr": 0.1, "width": 8}, 0.7)]
    for reason in (
        "1 with width outside",
        "1 pruned",
        "1 without a finite",
        "1 with lr outside",
        "1 with another deep",
    ):
        assert reason in lines[0]
    table.write_text("value,lr,width\n0.5,0.25,16\n")
    assert len(known(begun(planned(tmp_path / "new", str(table)))[0])) == 1


@pytest.mark.filterwarnings("ignore")
def test_of_several_objectives_the_best_in_each_are_enqueued(tmp_path: Path, earlier) -> None:
    old = tmp_path / "two"
    old.mkdir()
    study = optuna.create_study(storage=connect(str(old / JOURNAL)), study_name="two", directions=["maximize"] * 2)
    study.set_metric_names(["acc", "f1"])
    distributions = {name: KINDS[name] for name in ("lr", "width")}
    for lr, values in ((0.2, [0.9, 0.1]), (0.3, [0.1, 0.9]), (0.4, [0.5, 0.5]), (0.5, [0.4, 0.4])):
        params = {"lr": lr, "width": 8}
        study.add_trial(create_trial(values=values, params=params, distributions=distributions))
    plan = planned(tmp_path / "new", str(old))
    today, lines = begun(plan)
    assert [params["lr"] for params, _ in enqueued(today)] == [0.2, 0.3, 0.4]
    assert "its metric is acc, f1" in lines[0]
    two = optuna.create_study(sampler=ViewSampler(plan.space, RandomSampler()), directions=["maximize"] * 2)
    two.set_metric_names(["acc", "f1"])
    warm_start.begin(plan, two, warm_start.read_earlier(plan), {})
    assert two.sampler.view(two).trials[0].values == [0.9, 0.1]  # type: ignore[attr-defined]
    (tmp_path / "one.csv").write_text("acc,lr,width\n0.5,0.7,8\n0.6,0.8,8\n")
    plan = planned(tmp_path / "new", str(tmp_path / "one.csv"))
    warm_start.begin(plan, two, warm_start.read_earlier(plan), {})
    assert [params["lr"] for params, _ in enqueued(two)] == [0.8, 0.7]


def test_of_many_trials_the_best_and_some_of_the_others_are_known(tmp_path: Path, earlier) -> None:
    old = earlier(*(finished(step / 1000, lr=0.1 + step / 2000, width=8) for step in range(500)))
    values = sorted(value for _, value in known(begun(planned(tmp_path / "new", old))[0]))
    assert len(values) == 200
    assert values[-100:] == [step / 1000 for step in range(400, 500)]
    assert values[0] < 0.01


def test_one_of_several_studies_is_named(tmp_path: Path, earlier) -> None:
    url = f"sqlite:///{tmp_path}/studies.db"
    for name, value in (("a", 0.1), ("b", 0.2)):
        earlier(finished(value, lr=0.5, width=8), name="x", storage=optuna.storages.RDBStorage(url), study=name)
    assert known(begun(planned(tmp_path / "new", f"{url}#b"))[0])[0][1] == 0.2
    with pytest.raises(ConfigError, match="the storage holds no study 'c', it holds 'a', 'b'"):
        warm_start.read_earlier(planned(tmp_path / "new", f"{url}#c"))
    with pytest.raises(ConfigError, match=r"it holds 'a', 'b' \(sqlite.*#STUDY says which\)"):
        warm_start.read_earlier(planned(tmp_path / "new", url))


def test_what_cannot_be_used_is_one_line(tmp_path: Path, earlier) -> None:
    (tmp_path / "text.csv").write_text("a diary")
    (tmp_path / "hydra.csv").write_text("value,lr,'+hydra.run.dir\n1,0.5,x\n")
    (tmp_path / "empty").mkdir()
    other = earlier(finished(0.5, deep=3))
    strange = earlier(finished(0.5, lr=0.5), name="strange", changed_at="soon")
    own = earlier(finished(0.5, lr=0.5, width=8), name="default")
    for where, line in (
        ("nowhere", "must name a sweep's folder, an Optuna URL or a CSV file, got 'nowhere'"),
        (str(tmp_path / "empty"), "must name a sweep's folder"),
        (f"sqlite:///{tmp_path}/none.db", "cannot be read (FileNotFoundError"),
        ("postgresql://me:secret@host/db", "must hold no password: set LIGHTSWEEP_STORAGE, and write '$LIGHTSWEEP"),
        ("none.csv", "cannot be read"),
        (str(tmp_path / "text.csv"), "must have rows and a column acc or value"),
        (str(tmp_path / "hydra.csv"), "must have no column of Hydra's, got +hydra.run.dir"),
        (other, "has no parameter in common with this sweep, it has deep"),
        (strange, "the study has an attribute changed_at that this program did not write"),
        (own, "must name other studies than the sweep's own"),
    ):
        with pytest.raises(ConfigError, match=r"^hydra\.sweeper\.warm_start") as refusal:
            warm_start.read_earlier(planned(tmp_path / "default", where))
        assert line in str(refusal.value)
        assert "secret" not in str(refusal.value)
        assert "\n" not in str(refusal.value)


def test_a_sweep_starts_from_another(toy_sweep, study, tmp_path: Path) -> None:
    assert toy_sweep("hydra.sweeper.n_trials=4", "hydra.sweeper.pruner=none").code == 0
    again = f"hydra.sweep.dir={tmp_path}/again"
    done = toy_sweep("hydra.sweeper.n_trials=2", again, f"hydra.sweeper.warm_start=[{tmp_path}/study]")
    assert done.code == 0, done.err
    assert f"warm start: the sampler knows 4 of 4 trials of {tmp_path}/study" in done.out
    assert "2 trials: 2 completed" in done.out
    refused = toy_sweep("hydra.sweeper.n_trials=2", again, "hydra.sweeper.warm_start=[nowhere]")
    assert (refused.code, len(refused.err.splitlines())) == (1, 1)


def test_a_plan_may_be_renamed_before_it_starts(tmp_path: Path, earlier) -> None:
    plan = planned(tmp_path / "new", earlier(finished(0.5, lr=0.5, width=8)))
    parameters = tuple(replace(each, name=f"{each.name}#2") for each in plan.space.parameters)
    plan = plan.in_space(replace(plan.space, parameters=parameters))
    assert known(begun(plan)[0]) == [({"lr#2": 0.5, "width#2": 8}, 0.5)]
