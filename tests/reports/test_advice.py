"""What next: each rule on both sides of its threshold, and overrides that the sweep's grammar reads."""

import html
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import create_trial

import report
from lightsweep.reports import overview
from lightsweep.reports.advice import Advice, Found, advise
from lightsweep.reports.finding import Found as FoundRuns
from lightsweep.reports.study import copy_study
from lightsweep.reports.table import build_tables
from lightsweep.reports.trials import find_ranges, runs_of_trials
from lightsweep.reports.what_next import find_advice, next_command
from lightsweep.sweeper.grammar import parse
from lightsweep.sweeper.status import read_sweep

RATE = FloatDistribution(1e-4, 1e-2, log=True)


def look(best: Mapping[str, Any], space: Mapping[str, BaseDistribution], **more: Any) -> list[Advice]:
    trial = create_trial(value=1.0, params=dict(best), distributions=dict(space))
    none: dict[str, Any] = {"mattering": {}, "row": {}, "values": [], "noise": None, "confirm_with": None}
    return advise(Found(best=best, space=space, ranges=find_ranges([trial]), metric="val/acc", **(none | more)))


@pytest.mark.parametrize(
    ("space", "value", "typed"),
    [
        (RATE, 1e-2, "tag(log,interval(1e-4,0.1))"),
        (RATE, 1e-4, "tag(log,interval(1e-5,0.01))"),
        (RATE, 1e-3, None),
        (FloatDistribution(0.0, 0.5), 0.5, "interval(0,0.75)"),
        (FloatDistribution(0.123456, 0.4), 0.4, "interval(0.123456,0.54)"),
        (FloatDistribution(0.0, 0.5), 0.0, None),  # nothing is below 0
        (FloatDistribution(0.5, 1.0), 1.0, None),  # it may be a share
        (FloatDistribution(0.5, 0.9), 0.9, "interval(0.5,0.95)"),
        (FloatDistribution(2.0, 4.0), 2.0, "interval(1,4)"),
        (FloatDistribution(1.0, 4.0), 1.0, "interval(0.5,4)"),
        (FloatDistribution(-1.0, 1.0), -1.0, "interval(-2,1)"),
        (IntDistribution(10, 20), 20, "int(interval(10,25))"),
        (IntDistribution(1, 2), 1, None),
        (IntDistribution(16, 256, log=True), 256, "tag(log,int(interval(16,1024)))"),
        (IntDistribution(2, 8, step=2), 8, "range(2,12,2)"),
        (FloatDistribution(0.1, 0.5, step=0.1), 0.5, "range(0.1,0.75,0.1)"),
        (CategoricalDistribution([128, 256, 512]), 512, "choice(128,256,512,1024)"),
        (CategoricalDistribution([128, 256, 512]), 128, "choice(64,128,256,512)"),
        (CategoricalDistribution([1, 2, 3]), 3, "choice(1,2,3,4)"),
        (CategoricalDistribution([1, 2, 3]), 1, None),
        (CategoricalDistribution([128, 256, 512]), 256, None),
        (CategoricalDistribution([128, 256]), 256, None),
        (CategoricalDistribution(["relu", "gelu", "tanh"]), "tanh", None),
    ],
)
def test_the_best_at_an_end_of_its_range_says_where_to_search(
    space: BaseDistribution, value: Any, typed: str | None
) -> None:
    found = look({"a.key": value}, {"a.key": space})
    assert [advice.override for advice in found] == ([] if typed is None else [f"a.key={typed}"])
    if typed is None:
        return
    wider = parse({}, {}, [f"a.key={typed}"]).parameters[0].distribution
    assert type(wider) is type(space)
    if isinstance(space, CategoricalDistribution):
        assert set(wider.choices) > set(space.choices)
    else:
        assert (wider.log, wider.step) == (space.log, space.step)
        assert (wider.low < space.low) != (wider.high > space.high)
        assert wider.low <= space.low
        assert wider.high >= space.high


def test_the_sentence_on_an_end_names_value_range_and_side() -> None:
    (found,) = look({"optimizer.lr": 9.7e-3}, {"optimizer.lr": RATE})
    assert found.text == (
        "optimizer.lr 9.7e-3 is at the upper end of what was searched, 1e-4 to 0.01: better values may be above it."
        " Search there:"
    )
    assert found.typed == "'optimizer.lr=tag(log,interval(1e-4,0.1))'"


def test_a_range_under_a_condition_is_widened_where_it_is_written() -> None:
    (found,) = look({"optimizer=sgd:optimizer.lr": 1e-2}, {"optimizer=sgd:optimizer.lr": RATE})
    assert found.override == ""
    assert found.text.endswith("Widen its range under hydra.sweeper.when to tag(log,interval(1e-4,0.1)).")


def test_an_enqueued_value_that_no_axis_has_is_no_end() -> None:
    trial = create_trial(value=1.0, params={"lr": 1e-3}, distributions={"lr": RATE})
    none: dict[str, Any] = {"mattering": {}, "row": {"gap": 0.5}, "values": [], "noise": None, "confirm_with": None}
    assert advise(Found({"lr": 0.0}, {"lr": RATE}, find_ranges([trial]), metric="m", **none)) == []


@pytest.mark.parametrize(
    ("mattering", "typed"),
    [
        ({"lr": True, "dropout": False}, ["model.dropout=0.2"]),
        ({"lr": True, "dropout": True}, []),
        ({"lr": False, "dropout": False}, []),  # then there are too few trials, or all is noise
        ({}, []),
    ],
)
def test_what_does_not_matter_is_fixed_where_something_matters(mattering: dict, typed: list[str]) -> None:
    names = {"lr": "optimizer.lr", "dropout": "model.dropout"}
    space = {"optimizer.lr": RATE, "model.dropout": FloatDistribution(0.0, 0.5)}
    best = {"optimizer.lr": 1e-3, "model.dropout": 0.2}
    found = look(best, space, mattering={names[name]: matters for name, matters in mattering.items()})
    assert [advice.override for advice in found] == typed


def test_what_does_not_matter_is_not_widened() -> None:
    space = {"lr": RATE, "depth": IntDistribution(1, 4)}
    found = look({"lr": 1e-2, "depth": 4}, space, mattering={"lr": False, "depth": True})
    assert [advice.override for advice in found] == ["depth=int(interval(1,6))", "lr=0.01"]


def test_a_text_that_does_not_matter_is_quoted_as_hydra_reads_it() -> None:
    space = {"act": CategoricalDistribution(["'a b'", "c"]), "lr": RATE}
    found = look({"act": "'a b'", "lr": 1e-3}, space, mattering={"act": False, "lr": True})
    assert found[0].override == "act='a b'"
    assert shlex.split(found[0].typed) == ["act='a b'"]


@pytest.mark.parametrize(
    ("values", "noise", "says"),
    [
        ([0.5] * 10 + [0.4] * 10, None, "The last 10 of 20 trials have not improved the best"),
        ([0.5] * 9 + [0.4] * 10, None, ""),  # too few before them
        ([0.5] * 10 + [0.501] + [0.4] * 9, None, ""),
        (
            [0.5] * 10 + [0.501] + [0.4] * 9,
            0.002,
            "The last 10 of 20 trials improved the best by 0.10 points",
        ),
        ([0.5] * 10 + [0.503] + [0.4] * 9, 0.002, ""),
        ([0.4] * 30 + [0.5] + [0.4] * 29, None, "The last 20 of 60 trials have not improved the best"),
        ([0.4] * 45 + [0.5] + [0.4] * 14, None, ""),  # a third is 20
        ([float("-inf")] * 20, None, ""),
    ],
)
def test_trials_that_brought_nothing_say_stop(values: Sequence[float], noise: float | None, says: str) -> None:
    found = look({}, {}, values=values, noise=noise)
    assert len(found) == bool(says)
    assert "".join(advice.text for advice in found).startswith(says)


@pytest.mark.parametrize(
    ("gap", "row", "says"),
    [
        (0.1, {"loss.l2": 0.0}, "off: loss.l2."),
        (0.099, {"loss.l2": 0.0}, ""),
        (None, {"loss.l2": 0.0}, ""),
        (0.2, {"loss.l2": 0.01}, ""),
        (0.2, {"model.dropout": 0.2}, "low in what was searched: model.dropout 0.2."),
        (0.2, {"model.dropout": 0.3}, ""),
        (0.2, {"data.augment.flip": False, "width": 0}, "off: data.augment.flip."),
        (0.2, {"data.augment.flip": True}, ""),
    ],
)
def test_a_large_gap_names_regularisers_that_are_low(gap: float | None, row: dict, says: str) -> None:
    space = {"model.dropout": FloatDistribution(0.0, 0.5)}
    best = {name: value for name, value in row.items() if name in space}
    found = look(best, {name: space[name] for name in best}, row={**row, "gap": gap})
    assert len(found) == bool(says)
    assert "".join(advice.text for advice in found).endswith(says)
    assert all(advice.text.startswith(f"The best run is {100 * (gap or 0):.2f} points better") for advice in found)


@pytest.mark.parametrize(("seeds", "typed"), [(None, []), (7, ["hydra.sweeper.confirm=7"])])
def test_a_best_within_noise_says_how_many_seeds_would_tell(seeds: int | None, typed: list[str]) -> None:
    assert [advice.override for advice in look({}, {}, confirm_with=seeds)] == typed


def made(**sweep: Any) -> optuna.Study:
    study = optuna.create_study(study_name="mlp", direction="maximize")
    study.set_user_attr("sweep", {"metric": "val/acc", "program": "python src/train.py", **sweep})
    return study


def test_the_next_sweep_has_a_name_and_learns_from_this_one(tmp_path: Path) -> None:
    folder = tmp_path / "it's, here" / "mlp"
    folder.mkdir(parents=True)
    (folder.parent / "mlp-2").mkdir()
    study = copy_study(made(overrides=["sweep=mlp", "threads=1", "hydra.run.dir=/etc"]), {}, folder)
    changes = [Advice("", "optimizer.lr=interval(0,1)", is_of_space=True), Advice("", "hydra.sweeper.confirm=7")]
    command = shlex.split(next_command(study, changes))
    assert command[:5] == ["python", "src/train.py", "sweep=mlp", "threads=1", "optimizer.lr=interval(0,1)"]
    assert command[5] == "hydra.sweeper.study_name=mlp-3"
    assert command[6].startswith("hydra.sweeper.warm_start=[")
    read = read_value(command[6])
    assert read == [str(folder)]


def read_value(override: str) -> Any:
    from hydra.core.override_parser.overrides_parser import OverridesParser

    return OverridesParser.create().parse_override(override).value()


@pytest.mark.parametrize(
    ("sweep", "changes"),
    [({"overrides": ["sweep=mlp"]}, []), ({"overrides": ["x=1"]}, ["lr=1"]), ({"program": "rm -rf /"}, ["lr=1"])],
)
def test_there_is_no_command_where_nothing_changes_or_none_is_known(tmp_path: Path, sweep: dict, changes: list) -> None:
    study = copy_study(made(**sweep), {}, tmp_path)
    assert next_command(study, [Advice("", each, is_of_space=True) for each in changes]) == ""


def searched(low: float) -> optuna.Study:
    """Three trials, the best with the largest rate of a range from here to 0.1, and with a choice that is no number."""
    study = made(overrides=["sweep=mlp"])
    for rate in (0.01, 0.1, 0.03):
        params = {"optimizer.lr": rate, "model.act": "'<b>'"}
        spaces = {
            "optimizer.lr": FloatDistribution(low, 0.1, log=True),
            "model.act": CategoricalDistribution(["'<b>'", "relu"]),
        }
        study.add_trial(create_trial(value=rate, params=params, distributions=spaces))
    return study


def test_the_page_has_what_a_study_proposes(tmp_path: Path) -> None:
    opened = searched(1e-3)
    table = build_tables(runs_of_trials(opened, read_sweep(opened), tmp_path))[0]
    study = copy_study(opened, {}, tmp_path)
    advice = find_advice(study, table, {"lr": True, "act": False})
    assert [each.override for each in advice] == ["optimizer.lr=tag(log,interval(1e-3,1))", "model.act='<b>'"]
    overview.write_page(tmp_path / "page.html", FoundRuns(list(table.runs)), [(table, table.runs)], [tmp_path], study)
    section = (tmp_path / "page.html").read_text().partition('id="next"')[2].partition("</section>")[0]
    assert "<b>" not in section
    assert html.unescape(section).count("'optimizer.lr=tag(log,interval(1e-3,1))'") == 2  # alone, and in the command
    assert "hydra.sweeper.study_name=mlp-2" in section


def test_the_last_space_counts_of_a_study_that_was_continued_with_another() -> None:
    opened = searched(1e-3)
    spaces = {"optimizer.lr": FloatDistribution(1e-2, 1.0, log=True), "model.act": CategoricalDistribution(["relu"])}
    opened.add_trial(create_trial(value=0.0, params={"optimizer.lr": 0.5, "model.act": "relu"}, distributions=spaces))
    table = build_tables(runs_of_trials(opened, read_sweep(opened), None))[0]
    assert find_advice(copy_study(opened, {}, None), table, {}) == []  # 0.1 is no end of what was searched


def test_a_page_without_advice_has_no_section(make_run, tmp_path: Path) -> None:
    make_run("a")
    report.main([str(tmp_path / "runs"), "--html", str(tmp_path / "page.html")])
    assert "What next" not in (tmp_path / "page.html").read_text()
