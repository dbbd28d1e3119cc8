"""The reproduction of the reference experiments: rows from configs, what is run, the table, and what it concludes."""

import json
from pathlib import Path

import pytest

import reproduce
from lightsweep.core.files import ROOT
from reproduction import records, running
from reproduction.comparison import Noise, Sample, pool
from reproduction.conclusions import conclude
from reproduction.experiments import Experiment, read_experiments, read_questions
from reproduction.page import format_page

EVERY = read_experiments()
NOTHING: dict[str, list] = {each.name: [] for each in EVERY}
BY_NAME = {each.name: each for each in EVERY}
MACHINE = {"device": "a processor", "cores": 2, "jobs": 2, "versions": {"torch": "2"}, "git_commit": "abc"}


def row(name: str = "a1", **reported: float) -> Experiment:
    return Experiment(name, name[0], f"reference/{name}", "a title", reported)


def record(name: str, acc: float, seed: int = 42, **facts) -> dict:
    scores = {"val/acc": acc, "test/acc": acc, "params_keras": 10, "epochs": 3, "seconds": 60.0, "last_lr": 1e-3}
    return {"row": name, "seed": seed, "status": "completed", **scores, **MACHINE, **facts}


# Experiments


def test_an_experiment_is_read_from_the_file() -> None:
    assert BY_NAME["a4"] == Experiment(
        name="a4",
        family="a",
        config="reference/a4",
        title="GELU, BatchNorm and dropout with AdamW",
        reported={
            "train/acc": 0.8904,
            "val/acc": 0.5948,
            "test/acc": 0.5796,
            "params": 1_975_050,
            "last_lr": 6.3e-5,
        },
        assumed=("at most 100 epochs",),
        seeds=3,
    )


def test_every_config_has_an_entry_and_every_entry_a_config() -> None:
    folder = ROOT / "conf" / "experiment"
    assert {each.config for each in EVERY} == {
        str(file.relative_to(folder).with_suffix("")) for file in folder.rglob("[!_]*.yaml")
    }


def test_families_come_in_order_and_by_number() -> None:
    assert list(dict.fromkeys(each.family for each in EVERY)) == ["a", "b", "c", "d", "e", "next", "best"]
    assert [each.name for each in EVERY if each.family == "d"] == [f"d{number}" for number in range(1, 26)]


def test_several_seeds_are_wanted_where_the_noise_matters() -> None:
    assert {each.name for each in EVERY if each.seeds == 3} >= {"a1", "a2", "a3", "a4", "c8", "d11", "d24", "d25"}


def test_every_question_is_about_rows_that_are_there() -> None:
    assert {name for question in read_questions() for pair in question.pairs for name in pair} <= set(BY_NAME)


# What is run


def test_first_one_seed_of_every_row_then_the_others(tmp_path: Path) -> None:
    tasks = running.plan([BY_NAME["a1"], BY_NAME["b0"], BY_NAME["d11"]], None, tmp_path)
    assert list(map(str, tasks)) == [
        *("a1 seed 42", "b0 seed 42", "d11 seed 42"),
        *("a1 seed 43", "d11 seed 43", "a1 seed 44", "d11 seed 44"),
    ]
    assert len(running.plan([BY_NAME["a1"], BY_NAME["b0"]], 2, tmp_path)) == 4


def test_rows_run_in_the_order_in_which_they_are_named() -> None:
    chosen = [each.name for each in reproduce.choose(EVERY, ["b2", "b", "a4", "a4"])]
    assert chosen == ["b2", "b0", "b1", "b3", "a4"]


def test_a_run_on_two_threads_takes_two_slots(tmp_path: Path) -> None:
    class Process:
        def poll(self) -> int | None:
            events.append(len(started))
            return 0 if len(events) > 2 else None

    started: list[str] = []
    events: list[int] = []
    tasks = [running.Task(each, 42, tmp_path) for each in (BY_NAME["a1"], BY_NAME["best_mlp"], BY_NAME["a2"])]
    running.run_all(tasks, 2, lambda task: None, lambda task: started.append(str(task)) or Process(), poll_seconds=0)
    assert started == ["a1 seed 42", "best_mlp seed 42", "a2 seed 42"]
    assert events[:3] == [1, 1, 1]  # best_mlp waits until a1 has ended, although a slot is free
    assert "threads=2" in tasks[1].command


def test_without_a_gpu_what_needs_one_is_skipped(tmp_path: Path, capsys, type_command) -> None:
    type_command("reproduce.py", "best", *[f"--{name}={tmp_path / name}" for name in ("records", "outputs")])
    options = reproduce.parse(EVERY)
    able = {task.experiment.name for task in reproduce.find_tasks(EVERY, options, lambda: False)}
    assert able == {"best_mlp"}
    assert capsys.readouterr().out == "skipped: best_mlp_gpu needs a GPU\n"
    every = {task.experiment.name for task in reproduce.find_tasks(EVERY, options, lambda: True)}
    assert every == {*able, "best_mlp_gpu"}


@pytest.mark.parametrize(("status", "runs_again"), [("completed", False), ("diverged", False), ("failed", True)])
def test_a_run_with_a_record_of_its_end_is_not_repeated(tmp_path: Path, status: str, runs_again: bool) -> None:
    records.write_record(record("a1", 0.5, status=status), tmp_path / "records")
    assert bool(running.find_missing(running.plan([row()], 1, tmp_path), tmp_path / "records")) == runs_again


def test_a_record_replaces_that_of_the_same_run_and_leaves_the_others(tmp_path: Path) -> None:
    file = tmp_path / "records"
    for each in (record("b0", 0.3), record("a1", 0.4, seed=43), record("a1", 0.5), record("b0", 0.6)):
        records.write_record(each, file)
    assert [
        (each["row"], each["seed"], each["test/acc"]) for each in map(json.loads, file.read_text().splitlines())
    ] == [
        ("a1", 42, 0.5),
        ("a1", 43, 0.4),
        ("b0", 42, 0.6),
    ]


def test_a_run_that_was_cut_off_is_resumed(tmp_path: Path) -> None:
    (task,) = running.plan([row()], 1, tmp_path)
    assert task.command[2:5] == ["experiment=reference/a1", "seed=42", f"hydra.run.dir={tmp_path}/a1/seed-42"]
    task.folder.mkdir(parents=True)
    (task.folder / "config.yaml").touch()
    assert task.command[2:] == [f"resume={tmp_path}/a1/seed-42"]


def test_a_record_is_what_the_table_needs_and_no_more(finished, tmp_path: Path) -> None:
    kept = records.make_record(row(), 42, finished.folder, tmp_path / "log", 2)
    records.write_record(kept, tmp_path / "records")
    assert records.read_records([row()], tmp_path / "records") == {"a1": [kept]}
    assert kept["test/acc"] == finished.result["test/acc"]
    assert {"git_commit", "versions", "params_keras", "last_lr", "cores"} <= set(kept)
    assert "config" not in kept
    assert kept["by epoch"]["val/acc"] == pytest.approx([float(each["val/acc"]) for each in finished.rows], rel=1e-3)


def test_a_run_that_did_not_start_has_a_record_with_the_last_line_of_its_log(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("a line\nmodel.dropout must be in [0, 1), got 2\n\n")
    failed = records.make_record(row(), 42, tmp_path / "nothing", tmp_path / "log", 2)
    assert failed == {"row": "a1", "seed": 42, "status": "failed", "error": "model.dropout must be in [0, 1), got 2"}
    assert not records.is_finished(failed)
    row_of_a1 = cells(format_page(EVERY, NOTHING | {"a1": [failed]}), "A1")
    assert row_of_a1[3] == "failed: model.dropout must be in [0, 1), got 2"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["z"], "FAMILY must be one of a, b, c, d, e, next, best, or a row's name, got z"),
        (["--jobs", "0"], "--jobs must be >= 1, got 0"),
        (["--seeds", "-1"], "--seeds must be >= 1, got -1"),
    ],
)
def test_wrong_arguments_are_refused(type_command, capsys, arguments: list[str], message: str) -> None:
    type_command("reproduce.py", *arguments)
    with pytest.raises(SystemExit):
        reproduce.main()
    assert message in capsys.readouterr().err


def test_the_tables_of_d_can_be_named() -> None:
    tables = {"d_changes": 11, "d_rates": 3, "d_optimizers": 4, "d_batches": 3, "d_callbacks": 4}
    assert {name: len(reproduce.choose(EVERY, [name])) for name in tables} == tables
    assert [each.name for each in reproduce.choose(EVERY, ["d_rates"])] == ["d12", "d13", "d14"]
    assert {each.name for name in tables for each in reproduce.choose(EVERY, [name])} == {
        each.name for each in EVERY if each.family == "d"
    }


# The table


def cells(text: str, label: str) -> list[str]:
    (line,) = (line for line in text.splitlines() if line.startswith(f"| {label} |"))
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_a_row_of_the_table_has_their_numbers_and_ours() -> None:
    a1 = row(**{"val/acc": 0.53, "test/acc": 0.515, "params": 11, "epochs": 4})
    found = NOTHING | {"a1": [record("a1", 0.50, 42), record("a1", 0.52, 43, seconds=71.0)]}
    assert cells(format_page([a1, *EVERY[1:]], found), "A1")[2:] == [
        *("0.53", "0.5100 ± 0.0141", "0.515", "0.5100 ± 0.0141", "2", "-0.0050"),
        *("11", "10", "**no**", "3 / 4", "60 to 71", "0.001"),
    ]


def test_a_row_shows_if_it_diverged_failed_or_was_not_run() -> None:
    bare = {key: value for key, value in record("a1", 0.0).items() if "/" not in key}
    failed = bare | {"status": "diverged", "error": "train/loss became nan in epoch 1"}
    text = format_page([row("a1"), row("a2")], {"a1": [failed], "a2": []})
    assert cells(text, "A1")[3] == "diverged: train/loss became nan in epoch 1"
    assert cells(text, "A2")[3] == "not run yet"


def test_the_committed_table_is_the_one_that_the_records_give(type_command, tmp_path: Path) -> None:
    type_command("reproduce.py", "--table-only", "--table", str(tmp_path / "R.md"))
    reproduce.main()
    assert (tmp_path / "R.md").read_text() == reproduce.PAGE.read_text()


# What is concluded


def test_the_noise_is_pooled_over_rows_with_several_seeds() -> None:
    noise = pool([Sample((0.50, 0.52)), Sample((0.60, 0.61, 0.62)), Sample((0.9,)), Sample(())])
    assert noise == Noise(pytest.approx(((0.0002 + 0.0002) / 3) ** 0.5), 3)
    assert pool([Sample((0.9,))]) is None
    assert noise.limit(Sample((0.0,)), Sample((0.0,))) == pytest.approx(3.1824 * noise.sd * 2**0.5, rel=1e-4)


@pytest.mark.parametrize(
    ("d21", "answer", "word"),
    [
        (0.56, "Yes, in the one comparison.", "better by more than the noise"),
        (0.52, "No, the opposite, in the one comparison.", "worse by more than the noise"),
        (0.541, "It is within the noise in the one comparison.", "within the noise"),
    ],
)
def test_a_verdict_follows_from_the_numbers_whichever_way_they_fall(d21: float, answer: str, word: str) -> None:
    noisy = [record("d24", 0.54 + 0.002 * seed, seed) for seed in (-1, 0, 1)]
    found = {each.name: [] for each in EVERY} | {
        "d20": [record("d20", 0.54)],
        "d21": [record("d21", d21)],
        "d24": noisy,
    }
    (paragraph,) = (each for each in conclude(EVERY, found) if "batch 128 beat 64" in each)
    assert answer in paragraph
    assert word in paragraph
    assert f"D21 {d21:.4f} (n = 1) against D20 0.5400 (n = 1): {d21 - 0.54:+.4f}" in paragraph
    assert "reported +0.007" in paragraph


def test_photos_have_a_separate_noise() -> None:
    quiet = [record("d24", 0.54 + 0.001 * seed, seed) for seed in (-1, 0, 1)]
    loud = [record("e_mlp", 0.40 + 0.1 * seed, seed) for seed in (-1, 0, 1)]
    others = {name: [record(name, acc)] for name, acc in (("d20", 0.50), ("d21", 0.55), ("e_no_dropout", 0.35))}
    paragraphs = conclude(EVERY, NOTHING | others | {"d24": quiet, "e_mlp": loud})
    assert "0.0010 with 2 degrees of freedom; on E's photographs 0.1000 with 2" in paragraphs[0]
    (batch,) = (each for each in paragraphs if "batch 128 beat 64" in each)
    (dropout,) = (each for each in paragraphs if "E: does dropout help?" in each)
    assert "Yes, in the one comparison." in batch
    assert "It is within the noise in the one comparison." in dropout
    (unknown,) = (each for each in conclude(EVERY, NOTHING | {"d24": quiet}) if "E: does dropout" in each)
    assert "Not run with several seeds yet." in unknown


@pytest.mark.parametrize(("short", "cause"), [(0.50, "The epochs"), (0.54, "Noise explains it as well")])
def test_one_configuration_with_two_results_is_explained(short: float, cause: str) -> None:
    found = NOTHING | {name: [record(name, acc + 0.002 * seed, 42 + seed) for seed in (0, 1)] for name, acc in
              (("d11", short), ("d13", 0.541), ("d20", 0.541))}  # fmt: skip
    (paragraph,) = (each for each in conclude(EVERY, found) if "one configuration" in each)
    assert cause in paragraph
    assert "equal to the last digit" in paragraph


def test_parameter_counts_that_cannot_be_are_named() -> None:
    found = {each.name: [] for each in EVERY} | {
        "d2": [record("d2", 0.5, seed, params_keras=209802) for seed in (1, 2)]
    }
    (paragraph,) = (each for each in conclude(EVERY, found) if "cannot be.**" in each)
    assert "D2: the report prints 222,986, layers of its widths have 209,802." in paragraph
