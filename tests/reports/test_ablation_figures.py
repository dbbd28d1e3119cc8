"""The figures of an ablation, and reports of a sweep's folder that holds one, or a file that only looks like one."""

import json
from pathlib import Path
from typing import Any

import pytest

from lightsweep.reports import ablation
from lightsweep.reports.finding import find_runs, fold_seeds
from lightsweep.reports.page.drawing import Drawing
from lightsweep.sweeper.ablation_results import Ablation, Point, read_ablation, write_ablation
from saved_runs import write_run

POINTS = (
    Point("", "", "", (0.50, 0.51, 0.49)),
    Point("<b>dropout", "0", "0.29", (0.60, 0.61, 0.62)),
    Point("lr", "0.1", "0.01", (0.61, 0.60, 0.62)),
)


def measured(method: str = "path", points: tuple[Point, ...] = POINTS, **further: Any) -> Ablation:
    return Ablation("val/acc", True, method, "baseline", "trial 7", (401, 402, 403), points, **further)


def drawn(folder: Path) -> Drawing:
    drawing = Drawing()
    ablation.add_section(drawing, folder)
    return drawing


def test_the_section_shows_the_path_and_what_each_change_is_worth(tmp_path: Path) -> None:
    write_ablation(tmp_path, measured(), {})

    drawing = drawn(tmp_path)

    (section,) = drawing.shown
    assert [figure["label"] for figure in section["figures"]] == ["Along the path", "What each change is worth"]
    path, effects = drawing.data.values()
    assert path["data"][1]["y"] == pytest.approx([0.50, 0.61, 0.61])
    assert path["data"][1]["error_y"]["array"][0] == pytest.approx(0.0141, abs=1e-4)  # t(6) = 2.45, sd 0.01
    assert effects["data"][0]["x"] == pytest.approx([0.11, 0.0])
    assert effects["data"][0]["text"][0].endswith(", 100 %")
    assert len(set(effects["data"][0]["marker"]["color"])) == 2  # grey: within noise
    assert "<b>" not in json.dumps(drawing.data)
    assert drawing.problems == []


def test_shares_are_left_out_where_the_whole_is_noise(tmp_path: Path) -> None:
    write_ablation(tmp_path, measured(points=(POINTS[1], POINTS[2])), {})

    assert not drawn(tmp_path).data["figure-1"]["data"][0]["text"][0].endswith("%")


def test_leave_one_out_and_single_runs_are_drawn(tmp_path: Path) -> None:
    for number, found in enumerate(
        (
            measured("leave_one_out"),
            measured(points=tuple(Point(each.change, "0", "1", each.values[:1]) for each in POINTS)),
            measured(points=(*POINTS[:2], Point("lr", "a", "b", ()))),
            measured(test_score="test/acc", test=((0.4, 0.5), (0.6, 0.7))),
        )
    ):
        write_ablation(tmp_path, found, {})
        assert read_ablation(tmp_path) == found
        drawing = drawn(tmp_path)
        assert drawing.problems == []
        assert len(drawing.data) == (1 if number == 0 else 2)
        file = ablation.write_picture(tmp_path)
        assert file is not None
        assert file.read_bytes().startswith(b"\x89PNG")


HOSTILE: dict[str, Any] = {
    "no json": "{",
    "a list": "[]",
    "nested": "[" * 100_000,
    "nothing in it": "{}",
    "no points": {"points": []},
    "points of one": {"points": [{"change": "a", "before": "", "after": "", "values": [1.0]}]},
    "points that are texts": {"points": ["a", "b"]},
    "values that are texts": {"points": [{"change": "a", "before": "", "after": "", "values": ["1"]}] * 2},
    "values that are huge": {"points": [{"change": "a", "before": "", "after": "", "values": [1e300]}] * 2},
    "values that are no numbers": {
        "points": [{"change": "a", "before": "", "after": "", "values": [float("nan")]}] * 2
    },
    "a change that is a number": {"points": [{"change": 1, "before": "", "after": "", "values": [1.0]}] * 2},
    "a method of its own": {"method": "guess"},
    "seeds that are texts": {"seeds": ["1"]},
    "a test that is a number": {"test": 3},
    "too many points": {"points": [{"change": "a", "before": "", "after": "", "values": []}] * 2000},
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE)
def test_a_file_that_is_no_ablation_is_left_out(tmp_path: Path, content: Any) -> None:
    write_ablation(tmp_path, measured(), {})
    file = tmp_path / "ablation.json"
    file.write_text(content if isinstance(content, str) else json.dumps(json.loads(file.read_text()) | content))

    assert drawn(tmp_path).shown == []
    assert ablation.write_picture(tmp_path) is None


def test_what_a_file_says_cannot_leave_its_line(tmp_path: Path) -> None:
    write_ablation(tmp_path, measured(points=(POINTS[0], Point("a\x1b[31m\nb", "</script>", "$x^$", (1.0, 1.1)))), {})

    drawing = drawn(tmp_path)

    assert "\x1b" not in str(drawing.shown)
    assert all("\n" not in line for line in drawing.shown[0]["lines"])
    assert "</script>" not in json.dumps(drawing.data)
    assert ablation.write_picture(tmp_path) is not None
    assert all("\x1b" not in line and "\n" not in line for line in read_ablation(tmp_path).lines)  # type: ignore[union-attr]


def test_runs_of_an_ablation_are_no_trials(tmp_path: Path) -> None:
    write_run(tmp_path / "trial-0000", facts={"kind": "trial"})
    for seed in (401, 402):
        write_run(tmp_path / "ablation" / f"end-seed-{seed}", 0.99, facts={"kind": "ablation"}, seed=seed)

    assert [run.name for run in find_runs([tmp_path]).runs] == ["trial-0000"]
    (folded,) = fold_seeds(find_runs([tmp_path / "ablation"]).runs)
    assert (folded.folder.name, folded.row["n"]) == ("end", 2)
