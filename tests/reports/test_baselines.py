"""The baseline's mark and the differences to it in tables, comparisons and the page; confirmations have no rank."""

import csv
import json
import shutil
from io import StringIO
from pathlib import Path

import pytest

import compare
import report


@pytest.fixture
def folder(make_run, tmp_path: Path) -> Path:
    """A sweep's runs: the baseline was cut off as trial 0 and is trial 2; a confirmation of trial 1."""
    make_run("trial-0000", None, status="interrupted", facts={"kind": "trial"})
    for number, acc in ((1, 0.91), (2, 0.88), (3, 0.85)):
        make_run(f"trial-{number:04d}", acc, facts={"kind": "trial"}, model__width=number)
    for name, acc in (("best", 0.99), ("baseline", 0.9)):
        for seed in (101, 102):
            facts = {"kind": "confirmation"}
            make_run(f"confirm/{name}-seed-{seed}", acc, facts=facts, seed=seed, model__width=2 - (name == "best"))
    rows = [
        "rank,trial,state,note,folder",
        "1,1,complete,enqueued,trial-0001",
        "2,2,complete,baseline; again for trial 0,trial-0002",
        "3,3,complete,baseliner,trial-0003",
        ",0,interrupted,baseline; cut off,trial-0000",
    ]
    sweep = tmp_path / "runs"
    (sweep / "leaderboard.csv").write_text("\n".join(rows) + "\n")
    return sweep


def table(text: str) -> dict[str, dict[str, str]]:
    return {row["run"]: row for row in csv.DictReader(StringIO(text))}


def test_the_differences_are_to_the_sweeps_own_baseline_and_confirmations_have_no_rank(folder: Path, capsys) -> None:
    report.main([str(folder), "--csv"])
    rows = table(capsys.readouterr().out)
    points = {name: row["points_to_baseline"] for name, row in rows.items()}
    assert float(points["trial-0001"]) == pytest.approx(3.0)
    assert float(points["trial-0003"]) == pytest.approx(-3.0)
    assert float(points["confirm/best"]) == pytest.approx(9.0)
    assert {points[name] for name in ("trial-0000", "trial-0002", "confirm/baseline")} == {""}
    ranks = {name: row["rank"] for name, row in rows.items()}
    assert ranks == {
        "trial-0001": "1",
        "trial-0002": "2",
        "trial-0003": "3",
        "trial-0000": "",
        "confirm/best": "",
        "confirm/baseline": "",
    }


def test_a_trial_that_violates_a_constraint_has_no_rank(folder: Path, capsys) -> None:
    board = folder / "leaderboard.csv"
    board.write_text(board.read_text().replace("enqueued", "infeasible: params 3e+06 > 2e+06; enqueued"))
    report.main([str(folder), "--csv"])
    rows = table(capsys.readouterr().out)
    assert (rows["trial-0001"]["rank"], rows["trial-0001"]["status"]) == ("", "infeasible")
    assert (rows["trial-0002"]["rank"], rows["trial-0003"]["rank"]) == ("1", "2")


@pytest.mark.parametrize("how", [[], ["--markdown"], ["--html"]])
def test_the_baseline_has_its_mark_in_each_table(folder: Path, tmp_path: Path, capsys, how: list[str]) -> None:
    page = tmp_path / "page.html"
    report.main([str(folder), *how, *([str(page)] if how == ["--html"] else [])])
    text = page.read_text() if how == ["--html"] else capsys.readouterr().out
    assert "trial-0002 (baseline)" in text
    assert not any(f"trial-000{number} (baseline)" in text for number in (1, 3))


def test_a_comparison_names_the_baseline(folder: Path, capsys) -> None:
    compare.main([str(folder / "trial-0001"), str(folder / "trial-0002")])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith("trial-0001")
    assert lines[1].endswith("trial-0002 (baseline)")
    compare.main([str(folder / "confirm")])
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("A ") and "baseline-seed-101 and 1 more (baseline)" in line for line in lines)


@pytest.mark.parametrize("content", [b"\xff\xfe", b"rank\n", b'note,folder\n"baseline', b"note\nbaseline\n", None])
def test_a_leaderboard_that_cannot_be_read_marks_nothing(folder: Path, capsys, content: bytes | None) -> None:
    shutil.rmtree(folder / "confirm")
    board = folder / "leaderboard.csv"
    board.unlink()
    if content is not None:
        board.write_bytes(content)
    report.main([str(folder)])
    out = capsys.readouterr().out
    assert "trial-0002" in out
    assert "baseline" not in out


def test_the_page_begins_with_the_verdict_also_of_an_old_confirmation(
    sweep_folder: Path, tmp_path: Path, capsys
) -> None:
    """One that was written before there were verdicts: seeds, means and values."""
    folder = tmp_path / "sweep"
    shutil.copytree(sweep_folder, folder)
    named = (folder / "best.yaml").read_text().split()[2]
    entries = {
        name: {"n": 3, "failed": 0, "test/acc": {"mean": values[1], "std": 0.01, "values": values}}
        for name, values in (("best", [0.9, 0.91, 0.92]), ("baseline", [0.7, 0.71, 0.72]))
    }
    (folder / "confirmation.json").write_text(
        json.dumps({"best_trial": int(named), "seeds": [101, 102, 103]} | entries)
    )
    report.main([str(folder), "--html", str(tmp_path / "page.html")])
    text = (tmp_path / "page.html").read_text()
    sentence = f"Trial {named} is better than the baseline: test/acc +20.00 points from the baseline"
    assert -1 < text.find(sentence) < text.find('id="best"')
