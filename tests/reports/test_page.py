"""What is in the pages."""

import html
import json
import re
import shlex
from pathlib import Path

import pytest

import report
from lightsweep.reports import page
from pages import embedded, embedded_figures


def test_a_page_of_failed_runs_only_can_be_written(make_run, tmp_path: Path) -> None:
    make_run("a", None, status="failed", facts={"error": "ValueError: no"})
    report.main([str(tmp_path / "runs"), "--html", str(tmp_path / "page.html")])
    assert "ValueError: no" in (tmp_path / "page.html").read_text()


@pytest.mark.parametrize("text", ["</script>", "<!--", "<script>", "\u2028", "&lt;"])
def test_embedded_data_cannot_end_its_element(text: str) -> None:
    embedded = page.embed_json({"a": [text, float("nan")]})
    assert not re.search("[<>&\u2028]", embedded)
    assert json.loads(embedded) == {"a": [text, None]}


def titles(path: Path) -> list[str]:
    return re.findall(r"<h2[^>]*>(.*?)</h2>", path.read_text())


def test_the_page_of_a_sweep_has_every_section(sweep_page: Path) -> None:
    text = sweep_page.read_text()
    assert [title.partition(" of ")[0].partition(",")[0].partition(":")[0] for title in titles(sweep_page)] == [
        "Verdict",
        "What mattered",
        "Best",
        "Leaderboard",
        "Optimisation history",
        "Parallel coordinates",
        "Slices",
        "Learning curves",
        "Time spent",
        "The best run",
        "Confirmation",
        "How this was made",
    ]
    assert "--config-name best" in text
    assert "Welch p" in text
    assert "RandomSampler" in text
    assert "0.0001 to 0.1, logarithmic" in text
    assert len(text) < 6_000_000


def test_figures_show_pruned_and_failed_trials(sweep_page: Path) -> None:
    figures = embedded_figures(sweep_page)
    history = {trace["name"]: trace["x"] for trace in figures["figure-0"]["data"]}
    assert (history["pruned"], history["failed"]) == ([3], [5])
    curves = next(figure for figure in figures.values() if figure["layout"]["xaxis"].get("title") == {"text": "epoch"})
    assert {trace["name"] for trace in curves["data"]} == {"completed", "pruned", "best"}


def test_without_a_study_the_page_has_the_sections_of_runs_only(finished, tmp_path: Path, capsys) -> None:
    report.main([str(finished.folder), "--html", str(tmp_path / "run.html")])
    shown = [title.partition(",")[0] for title in titles(tmp_path / "run.html")][1:]
    assert shown == ["Leaderboard", "Learning curves", "Time spent", "The best run", "How this was made"]


def test_a_row_names_its_folder_and_the_command_that_trains_it_again(make_run, tmp_path: Path) -> None:
    folder = make_run("it's <b>/trial-0007", facts={"kind": "trial"})
    (folder / "repeat.yaml").write_text("")
    make_run("it's <b>/trial-0008", facts={"kind": "trial"})
    make_run("3", facts={"kind": "job", "overrides": ["model.hidden=[8,4]", "hydra.run.dir=/etc"]})
    report.main([str(tmp_path / "runs"), "--html", str(tmp_path / "page.html")])
    text = (tmp_path / "page.html").read_text()
    assert "<b>" not in text.partition("<main")[2].partition("<script")[0]
    rows = embedded(tmp_path / "page.html", "run-data")
    row = rows["it's <b>/trial-0007"]
    assert (row["folder"], row["link"]) == (str(folder), "./runs/it%27s%20%3Cb%3E/trial-0007/")
    where = str(folder).replace("'", """'"'"'""")
    assert row["command"] == f"python src/train.py --config-dir '{where}' --config-name repeat"
    assert shlex.split(row["command"])[3] == str(folder)
    lost, grid = rows["it's <b>/trial-0008"], rows["3"]
    assert (lost["command"], lost["note"]) == (None, "Its sweep has left no repeat.yaml, the config to train it again.")
    assert grid["command"] == "python src/train.py 'model.hidden=[8,4]'"
    assert grid["note"] == "Left out, add them yourself: hydra.run.dir."


def test_a_row_says_in_what_its_run_differs_from_the_baseline(make_run, tmp_path: Path) -> None:
    make_run("trial-0000", 0.5, facts={"kind": "trial"}, optimizer__lr=0.1)
    make_run("trial-0001", 0.6, facts={"kind": "trial"}, optimizer__lr=0.01, model__bn=True)
    report.main([str(tmp_path / "runs"), "--html", str(tmp_path / "page.html")])
    alone = embedded(tmp_path / "page.html", "run-data")["trial-0001"]
    assert (alone["against"], alone["changes"]) == ("Its settings", [["bn", "true"], ["lr", "0.01"]])

    board = tmp_path / "runs" / "leaderboard.csv"
    board.write_text("trial,note,folder\n0,baseline,trial-0000\n1,,trial-0001\n")
    report.main([str(tmp_path / "runs"), "--html", str(tmp_path / "page.html")])
    rows = embedded(tmp_path / "page.html", "run-data")
    assert rows["trial-0001"]["against"] == "Changed from the baseline, trial-0000"
    assert rows["trial-0001"]["changes"] == [["bn", "false", "true"], ["lr", "0.1", "0.01"]]
    assert (rows["trial-0000"]["changes"], rows["trial-0000"]["same"]) == ([], "This is the baseline.")


@pytest.mark.parametrize(
    ("name", "link"),
    [
        ("javascript:alert(1)", "./runs/javascript%3Aalert%281%29/"),
        ('a"><script>alert(1)</script>', "./runs/a%22%3E%3Cscript%3Ealert%281%29%3C/script%3E/"),
        ("50% #?", "./runs/50%25%20%23%3F/"),
        ("two\nlines", ""),
    ],
)
def test_a_link_to_a_folder_stays_a_relative_path(make_run, tmp_path: Path, name: str, link: str) -> None:
    make_run(name)
    report.main([str(tmp_path / "runs"), "--html", str(tmp_path / "page.html")])
    (row,) = embedded(tmp_path / "page.html", "run-data").values()
    assert row["link"] == link


def test_the_status_of_a_pruned_run_has_its_number_of_epochs_or_seeds(make_run, tmp_path: Path, capsys) -> None:
    make_run("a", 0.5, status="pruned", facts={"epochs": 1, "kind": "trial"})
    make_run("b", 0.6, status="pruned", facts={"epochs": 7, "kind": "trial"})
    make_run("c", 0.7, status="pruned", facts={"epochs": 7, "kind": "trial", "seeds": [1, 2]})
    make_run("d", 0.8)
    report.main([str(tmp_path / "runs"), "--html", str(tmp_path / "page.html")])
    text, out = (tmp_path / "page.html").read_text(), capsys.readouterr().out
    for words in ("pruned after 1 epoch", "pruned after 7 epochs", "pruned after 2 seeds"):
        assert re.search(rf'data-value="pruned" class="status pruned">{words}<', text)
        assert words in out


def test_the_command_has_the_config_that_the_run_was_started_with(make_run, tmp_path: Path) -> None:
    folder = make_run("mine", facts={"overrides": ["model.width=8"]})
    (folder / ".hydra").mkdir()
    source = "{path: /a b/conf, provider: command-line}"
    noted = (
        f"hydra: {{job: {{config_name: best}}, runtime: {{config_sources: [{{path: x, provider: main}}, {source}]}}}}"
    )
    (folder / ".hydra" / "hydra.yaml").write_text(noted)
    report.main([str(folder), "--html", str(tmp_path / "page.html")])
    text = html.unescape((tmp_path / "page.html").read_text())
    assert "python src/train.py --config-dir '/a b/conf' --config-name best model.width=8" in text


def test_the_dashed_line_is_at_the_best_epoch_even_if_the_last_epoch_was_scored(make_run, tmp_path: Path) -> None:
    folder = make_run("last", facts={"best_epoch": 3})
    (folder / "metrics.csv").write_text("epoch,train/acc,val/acc\n1,0.1,0.2\n2,0.3,0.9\n3,0.4,0.5\n")
    report.main([str(folder), "--html", str(tmp_path / "page.html")])
    lines = [
        figure["layout"]["shapes"]
        for figure in embedded_figures(tmp_path / "page.html").values()
        if "shapes" in figure["layout"]
    ]
    assert [shape["x0"] for (shape,) in lines] == [2]
