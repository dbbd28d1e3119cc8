"""Which keys of saved runs are factors, and `report.py --effects` as it is typed."""

import csv
import json
import sys
from collections.abc import Callable
from io import StringIO
from itertools import product
from pathlib import Path

import pytest

import report
from lightsweep.core.errors import ConfigError
from lightsweep.reports.design import Design, read_design
from lightsweep.reports.finding import find_runs, fold_seeds, mark_baselines
from lightsweep.reports.table import build_tables

NOISE = {1: -0.004, 2: 0.001, 3: 0.003}  # by seed


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "runs"


@pytest.fixture
def grid(make_run: Callable[..., Path], folder: Path) -> Path:
    """BatchNorm, dropout and three seeds: dropout helps only without BatchNorm."""
    for number, (bn, dropout, seed) in enumerate(product((True, False), (0, 0.3), (1, 2, 3))):
        acc = 0.5 + 0.03 * bn + 0.02 * (dropout > 0 and not bn) + NOISE[seed]
        make_run(f"{number}-job", acc, model__bn=bn, model__dropout=dropout, seed=seed)
    return folder


def design_of(*folders: Path) -> Design:
    tables = build_tables(mark_baselines(fold_seeds(find_runs(folders).runs)))
    return read_design(tables[0])


def print_effects(capsys, *typed: str | Path) -> list[str]:
    assert report.main([*map(str, typed), "--effects"]) == 0
    return capsys.readouterr().out.splitlines()


def test_prints_the_answer_first_then_levels_interactions_and_what_is_open(grid: Path, capsys) -> None:
    lines = print_effects(capsys, grid)
    verdict = "better, more than noise; depends on"
    assert lines[:5] == [
        "effects on val/acc (higher is better), Digits: 12 runs, 4 combinations of 2 keys",
        f"bn true against false: +0.0200 ± 0.0048 (n = 6 pairs), p < 0.0001: {verdict} dropout",
        f"dropout 0.3 against 0: +0.0100 ± 0.0048 (n = 6 pairs), p = 0.0027: {verdict} bn",
        "",
        "mean differences of runs that are equal in the other keys (cell means)",
    ]
    assert "± is half a 95 % interval; noise: sd 0.0036, 8 degrees of freedom; p is adjusted for 3 tests" in lines[5]
    assert [line.split() for line in lines if line.startswith(("dropout  ", "         0.3"))] == [
        ["dropout", "0", "0.5150", "±", "0.0167", "6"],
        ["0.3", "0.5250", "±", "0.0064", "6"],
    ]
    (line,) = [line for line in lines if "only with" in line]
    assert line.startswith("dropout 0.3 against 0: better only with bn false (+0.0200 ± 0.0068 with false,")
    assert "open" not in lines


def test_a_narrow_terminal_gets_whole_words(grid: Path, capsys, monkeypatch) -> None:
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "60")
    lines = print_effects(capsys, grid)
    assert all(len(line) <= 60 for line in lines if "\x1b" not in line)
    assert lines[2] == "bn true against false: +0.0200 ± 0.0048 (n = 6 pairs),"


def test_the_reference_is_false_null_the_smallest_number_or_the_first_text(make_run, folder: Path) -> None:
    values = product((True, False), (0.3, None, 0), ("gelu", "relu", "elu"), (10, 9))
    for number, (bn, dropout, activation, width) in enumerate(values):
        facts = {"model__bn": bn, "model__dropout": dropout, "model__activation": activation, "model__width": width}
        make_run(f"{number}-job", 0.5, **facts)
    assert [(factor.keys, factor.levels) for factor in design_of(folder).factors] == [
        (("model.width",), ("9", "10")),
        (("model.bn",), ("false", "true")),
        (("model.dropout",), ("null", "0", "0.3")),
        (("model.activation",), ("gelu", "relu", "elu")),
    ]


def test_the_baseline_is_the_reference(make_run, folder: Path) -> None:
    for number, bn in enumerate((False, True, False, True)):
        run = make_run(f"trial-{number:04d}", 0.5 + number / 100, facts={"kind": "trial"}, model__bn=bn, seed=number)
        assert run.is_dir()
    (folder / "leaderboard.csv").write_text("folder,state,note\ntrial-0001,complete,baseline\n")
    (factor,) = design_of(folder).factors
    assert factor.levels == ("true", "false")


def test_keys_that_change_together_are_one_factor(make_run, folder: Path) -> None:
    for number, (seed, adamw, bn) in enumerate(product((1, 2), (False, True), (False, True))):
        target = "torch.optim.AdamW" if adamw else "torch.optim.Adam"
        optimizer = {"_target_": target, "lr": 0.001, "weight_decay": 0.01 if adamw else 0.0}
        make_run(f"{number}-job", 0.5, optimizer=optimizer, model__bn=bn, seed=seed)
    design = design_of(folder)
    assert [factor.keys for factor in design.factors] == [
        ("model.bn",),
        ("optimizer", "optimizer.weight_decay"),
    ]
    assert design.factors[1].levels == ("Adam", "AdamW")
    assert design.notes == ("optimizer and weight_decay change together: one factor",)


def test_a_nested_key_is_left_out(make_run, folder: Path) -> None:
    for number, (seed, momentum) in enumerate(product((1, 2), (None, 0.0, 0.9))):
        target = "torch.optim.Adam" if momentum is None else "torch.optim.SGD"
        optimizer = {"_target_": target, "lr": 0.1} | ({} if momentum is None else {"momentum": momentum})
        make_run(f"{number}-job", 0.5, optimizer=optimizer, seed=seed)
    design = design_of(folder)
    assert [factor.keys for factor in design.factors] == [("optimizer",)]
    assert "left out, as only some of the runs have it (nested): momentum" in design.notes


def test_failed_and_diverged_runs_are_counted_and_what_they_leave_empty_is_named(make_run, folder: Path) -> None:
    for number, (seed, bn, lr) in enumerate(product((1, 2), (False, True), (0.1, 1.0, 10.0))):
        lost = lr == 10.0 or (lr == 1.0 and not bn)
        status = "diverged" if lost else "completed"
        make_run(
            f"{number}-job",
            None if lost else 0.5 + seed / 100,
            status=status,
            model__bn=bn,
            optimizer__lr=lr,
            seed=seed,
        )
    make_run("refused", None, status="failed", model__bn=False, optimizer__lr=0.1)
    notes = design_of(folder).notes
    assert notes[0] == "7 runs without a final score left out: 6 diverged, 1 failed"
    assert "lr 10: no run has a score" in notes
    assert "3 of 4 combinations have a run with a score; none has bn=false lr=1" in notes


def test_a_run_that_repeats_another_says_nothing_about_noise(grid: Path, make_run, tmp_path: Path) -> None:
    make_run("again", 0.526, model__bn=True, model__dropout=0, seed=1)
    design = design_of(grid)
    assert len(design.cells) == 12
    assert "left out, with the settings and the seed of another run: 1" in design.notes


def test_the_seeds_of_a_trial_are_runs(make_run, folder: Path) -> None:
    for trial, seed in product((0, 1), (1, 2, 3)):
        acc = 0.5 + 0.1 * trial + NOISE[seed]
        make_run(f"trial-{trial:04d}/seed-{seed}", acc, facts={"kind": "seed"}, seed=seed, model__bn=bool(trial))
    assert len(design_of(folder).cells) == 6


def test_searched_values_are_left_out_and_shared_ones_are_not(make_run, folder: Path) -> None:
    for number in range(16):
        facts = {"optimizer__lr": 0.001 * 1.1**number, "model__width": 16 + number, "model__bn": number % 2 == 0}
        make_run(f"trial-{number:04d}", 0.5 + 0.001 * number, facts={"kind": "trial"}, seed=1, **facts)
    design = design_of(folder)
    assert [factor.keys for factor in design.factors] == [("model.bn",)]
    assert "left out, as it has more than 12 levels: width and lr" in design.notes
    assert "what the keys that are left out change counts as noise" in design.notes
    assert any(note.startswith("a sampler chose") for note in design.notes)


def test_trials_beside_a_grid_leave_it_as_it_is(grid: Path, make_run) -> None:
    for number in range(5):
        facts = {"model__dropout": 0.01 * number + 0.001, "model__bn": True}
        make_run(f"sweep/trial-{number:04d}", 0.5, facts={"kind": "trial"}, seed=1, **facts)
    design = design_of(grid)
    assert len(design.cells) == 12
    assert design.notes == ("left out, trials with a value that no other run has: 5",)


def test_the_seeds_of_trials_with_random_values_share_no_level(make_run, folder: Path) -> None:
    for trial, seed in product(range(4), (1, 2, 3)):
        facts = {"optimizer__lr": 0.01 * trial + 0.001, "model__width": 8 + trial}
        make_run(f"trial-{trial:04d}/seed-{seed}", 0.5, facts={"kind": "seed"}, seed=seed, **facts)
    with pytest.raises(ConfigError, match=r"no level is shared by two runs \(model.width and optimizer.lr\)"):
        design_of(folder)


@pytest.mark.parametrize(
    ("runs", "says"),
    [
        ([{"seed": 1}, {"seed": 2}], "differ in a key: 2 runs differ in nothing but their seed"),
        ([{"seed": 1}], "two completed runs at least: of 1 run, 1 with a val/acc"),
        (
            [{"optimizer__lr": lr, "model__width": lr * 10, "facts": {"kind": "trial"}} for lr in (0.1, 0.2, 0.3)],
            "no level is shared by two runs (model.width and optimizer.lr): effects need a grid, as -m",
        ),
        (
            [
                {"optimizer": {"_target_": "A", "a": 1}},
                {"optimizer": {"_target_": "A", "a": 2}},
                {"optimizer": {"_target_": "A", "b": 1}},
                {"optimizer": {"_target_": "A", "b": 2}},
            ],
            "effects need a key that all runs have: the runs differ in optimizer.a and optimizer.b",
        ),
    ],
)
def test_runs_without_effects_are_refused_in_one_line(make_run, folder: Path, runs: list[dict], says: str) -> None:
    for number, changes in enumerate(runs):
        make_run(f"{number}-job", 0.5, **changes)
    with pytest.raises(ConfigError) as refused:
        report.main([str(folder), "--effects"])
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)


def test_one_seed_and_one_run_a_level_give_effects_without_intervals(make_run, folder: Path, capsys) -> None:
    for number, activation in enumerate(("relu", "gelu", "elu")):
        make_run(f"{number}-job", 0.5 + number / 10, model__activation=activation)
    lines = print_effects(capsys, folder)
    assert lines[1:3] == [
        "activation elu against relu: +0.2000 (n = 1 pair)",
        "activation gelu against relu: +0.1000 (n = 1 pair)",
    ]
    assert "one run a combination: noise is not known, so there are no intervals" in " ".join(lines)


def test_filter_chooses_runs(grid: Path, capsys) -> None:
    lines = print_effects(capsys, grid, "--filter", "bn=false")
    assert "6 runs, 2 combinations of 1 key" in lines[0]
    assert lines[1].startswith("dropout 0.3 against 0: +0.0200 ±")


def test_each_data_set_and_metric_has_effects_of_its_own(grid: Path, make_run, capsys) -> None:
    for number, (bn, seed) in enumerate(product((True, False), (1, 2))):
        monitor = {"metric": "val/loss", "mode": "min"}
        make_run(f"loss-{number}", 0.5 - 0.1 * bn + seed / 100, monitor=monitor, model__bn=bn, seed=seed,
                 facts={"monitor": "val/loss"})  # fmt: skip
    lines = print_effects(capsys, grid)
    assert lines[0] == "scores of different data sets or metrics cannot be compared: effects for each"
    assert any(line.startswith("effects on val/loss (lower is better)") for line in lines)
    (line,) = [line for line in lines if line.startswith("bn true against false: +0.1000 ±")]
    assert line.endswith("worse, more than noise")


@pytest.mark.parametrize("option", [["--top", "3"], ["--sort", "seconds"], ["--reverse"], ["--group-by", "bn"]])
def test_options_that_choose_rows_are_refused(grid: Path, option: list[str]) -> None:
    with pytest.raises(ConfigError, match=f"{option[0]} does not go with --effects"):
        report.main([str(grid), "--effects", *option])


def test_writes_the_effects_for_other_programs(grid: Path, tmp_path: Path, capsys) -> None:
    report.main([str(grid), "--effects", "--csv"])
    rows = list(csv.DictReader(StringIO(capsys.readouterr().out)))
    assert [row["kind"] for row in rows] == ["reference", "effect"] * 2 + ["interaction"] * 2
    assert [rows[1][name] for name in ("key", "level", "against", "n", "more_than_noise")] == [
        *("model.bn", "true", "false", "6", "True")
    ]
    low, effect, high = (float(rows[1][name]) for name in ("low", "effect", "high"))
    assert low < effect < high
    assert effect == pytest.approx(0.02)
    assert rows[4]["at"].startswith("model.bn=")

    report.main([str(grid), "--effects", "--json", str(tmp_path / "e.json"), "--markdown", str(tmp_path / "e.md")])
    (table,) = json.loads((tmp_path / "e.json").read_text())["tables"]
    assert (table["model"], table["runs"], table["tests"]) == ("cell means", 12, 3)
    assert len(table["rows"]) == 6
    text = (tmp_path / "e.md").read_text()
    assert "| bn true against false | +0.0200 ± 0.0048 | \\< 0.0001 | better, more than noise | 6, 6 | 0.53" in text


def test_the_page_of_a_grid_shows_the_effects(grid: Path, tmp_path: Path) -> None:
    report.main([str(grid), "--html", str(tmp_path / "page.html")])
    page = (tmp_path / "page.html").read_text()
    assert "What mattered: effects" in page
    assert "Mean differences of runs that are equal in the other keys (cell means)." in page
    assert '"bn true against false"' in page


def test_without_statsmodels_one_line_names_the_extra(grid: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "statsmodels.regression.linear_model", None)
    with pytest.raises(ConfigError, match=r"effects need statsmodels: pip install 'lightsweep\[report\]'"):
        report.main([str(grid), "--effects"])
    report.main([str(grid), "--html", str(tmp_path / "page.html")])
    assert "What mattered: effects" not in (tmp_path / "page.html").read_text()


HOSTILE = "</script><img src=x onerror=alert(1)>\x1b[31m" + "x" * 500


def test_hostile_results_are_printed_and_drawn_as_text(make_run, folder: Path, tmp_path: Path, capsys) -> None:
    for number, (activation, seed) in enumerate(product((HOSTILE, f"{HOSTILE}y", "=1+1"), (1, 2))):
        make_run(f"{number}-job", 0.5 + seed / 100, model__activation=activation, seed=seed)
    make_run("list", 0.5, optimizer=["a"], seed={"a": 1}, model__activation=HOSTILE)
    make_run("huge", 0.5, model__activation=HOSTILE, seed=3, facts={"val/acc": 10**400})
    make_run("text", 0.5, model__activation=HOSTILE, seed=3, facts={"val/acc": "nan"})
    lines = print_effects(capsys, folder)
    assert "\x1b" not in "".join(lines)
    assert max(map(len, lines)) < 200
    report.main([str(folder), "--effects", "--html", str(tmp_path / "page.html"), "--csv", str(tmp_path / "e.csv")])
    page = (tmp_path / "page.html").read_text()
    assert "<img" not in page.partition("<script>")[0]
    assert "'=1+1" in (tmp_path / "e.csv").read_text()
