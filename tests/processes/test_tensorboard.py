"""The real TensorBoard over the folders that runs leave, asked over HTTP for all that it should show."""

import json
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from digits_runs import trained
from lightsweep.core.errors import Diverged

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

SMALL = ("logger=tensorboard", "callbacks=default", "model.bn=true")
FIRST, RESUMED, BROKEN, TRIAL = "runs/first", "runs/resumed", "runs/broken", "sweeps/small/trial-0000"
KEYS = ("train/acc", "val/acc", "val/f1", "val/loss", "test/acc", "test/f1")
JSON = {"Content-Type": "application/json"}
Ask = Callable[..., Any]


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run; one that failed and was gone on with under another setting; one that diverged; a sweep's trial."""
    folder = tmp_path_factory.mktemp("outputs")
    trained(folder / FIRST, *SMALL, shown=True)
    with pytest.MonkeyPatch.context() as failing:
        failing.setattr("lightsweep.app.steps.score_part", None)
        with pytest.raises(TypeError):
            trained(folder / RESUMED, *SMALL, "trainer.max_epochs=1", "callbacks=none")
    trained(folder / RESUMED, *SMALL, "optimizer.lr=2e-3", "callbacks=none")
    trained(folder / TRIAL, *SMALL, "optimizer.lr=0.5", "test=false", kind="trial", shown=True)
    with pytest.raises(Diverged):
        trained(folder / BROKEN, *SMALL, "optimizer=sgd", "optimizer.lr=1e30")
    return folder


@pytest.fixture(scope="module")
def ask(outputs: Path) -> Iterator[Ask]:
    """Ask a TensorBoard that shows the runs: a path, what to post if anything, and parameters."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(outputs), "--port", str(port)]
    server = subprocess.Popen([*command, "--host", "127.0.0.1"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def ask(path: str, posted: dict | None = None, **parameters: Any) -> Any:
        address = f"http://127.0.0.1:{port}/data/{path}?{urllib.parse.urlencode(parameters)}"
        body = None if posted is None else json.dumps(posted).encode()
        with urllib.request.urlopen(urllib.request.Request(address, body, JSON), timeout=30) as answer:
            content = answer.read()
        return content if answer.headers["Content-Type"].startswith("image/") else json.loads(content)

    try:
        wait_for_runs(ask, server)
        yield ask
    finally:
        server.terminate()
        server.wait(10)


def wait_for_runs(ask: Ask, server: subprocess.Popen) -> None:
    """Until it is up and has read all there is: the trial's scores are the last that was written."""
    until = time.monotonic() + 90
    while time.monotonic() < until:
        assert server.poll() is None, "TensorBoard ended by itself"
        try:
            tags = ask("plugin/scalars/tags")
            if BROKEN in tags and all("z_hp/val_acc" in tags.get(run, {}) for run in (FIRST, RESUMED, TRIAL)):
                return
        except urllib.error.URLError:
            pass
        time.sleep(0.5)
    raise AssertionError("TensorBoard did not show the runs")


def session_groups(ask: Ask) -> dict[str, dict]:
    """The rows of the HParams tab, by run."""
    experiment = ask("plugin/hparams/experiment", {"experimentName": ""})
    columns = [{"metric": info["name"]} for info in experiment["metricInfos"]]
    columns += [{"hparam": info["name"]} for info in experiment["hparamInfos"]]
    statuses = [f"STATUS_{name}" for name in ("UNKNOWN", "SUCCESS", "FAILURE", "RUNNING")]
    wanted = {"experimentName": "", "allowedStatuses": statuses, "colParams": columns, "startIndex": 0, "sliceSize": 99}
    rows = ask("plugin/hparams/session_groups", wanted)["sessionGroups"]
    assert all(len(row["sessions"]) == 1 for row in rows)
    return {row["sessions"][0]["name"]: row for row in rows}


def metrics(row: dict) -> dict[str, float]:
    return {metric["name"]["tag"]: metric["value"] for metric in row.get("metricValues", [])}


def test_runs_have_the_names_of_their_folders_and_nothing_else_is_there(ask: Ask) -> None:
    assert set(ask("runs")) == {FIRST, RESUMED, BROKEN, TRIAL}


def test_scalars_are_those_of_metrics_csv(ask: Ask, outputs: Path) -> None:
    points = ask("plugin/scalars/scalars", run=FIRST, tag="val/acc")
    assert [step for _, step, _ in points] == [1, 2]
    result = json.loads((outputs / FIRST / "result.json").read_text())
    assert max(value for *_, value in points) == pytest.approx(result["best_value"])


def test_images_are_the_files_of_the_run(ask: Ask, outputs: Path) -> None:
    tags = ask("plugin/images/tags")
    files = {f"z_figures/{path.stem}": path for path in (outputs / FIRST / "figures").iterdir()}
    assert set(tags[FIRST]) == set(files)
    assert TRIAL not in tags
    meta = ask("plugin/images/images", run=FIRST, tag="z_figures/curves", sample=0)[-1]
    path, _, query = meta["query"].partition("?")
    shown = ask("plugin/images/individualImage", **dict(urllib.parse.parse_qsl(query or path)))
    assert shown == files["z_figures/curves"].read_bytes()


def test_the_report_is_there_as_text(ask: Ask) -> None:
    assert ask("plugin/text/tags")[FIRST] == ["report/test/text_summary"]
    shown = ask("plugin/text/text", run=FIRST, tag="report/test/text_summary")[-1]["text"]
    assert "<pre>" in shown
    assert "weighted average" in shown


def test_histograms_of_weights_and_gradients_of_each_layer(ask: Ask) -> None:
    tags = set(ask("plugin/histograms/tags")[FIRST])
    layers = {tag.partition("/")[2] for tag in tags if tag.startswith("z_weights/")}
    assert len(layers) == 6  # weight and bias of two linear layers and a BatchNorm
    assert tags == {f"{kind}/{layer}" for kind in ("z_weights", "z_gradients") for layer in layers}
    (_, step, buckets), *_ = ask("plugin/histograms/histograms", run=FIRST, tag=f"z_weights/{sorted(layers)[0]}")
    assert step == 1
    assert buckets
    assert set(ask("plugin/distributions/tags")[FIRST]) == tags


def test_the_graph_is_there(ask: Ask) -> None:
    info = ask("plugin/graphs/info")
    assert info[FIRST]["run_graph"]
    assert TRIAL not in info


def test_hparams_have_one_row_a_run_with_the_real_metrics(ask: Ask, outputs: Path) -> None:
    rows = session_groups(ask)
    assert set(rows) == {FIRST, RESUMED, BROKEN, TRIAL}
    for run in (FIRST, RESUMED, TRIAL):
        result = json.loads((outputs / run / "result.json").read_text())
        scored = {f"z_hp/{key.replace('/', '_')}": result[key] for key in KEYS if key in result}
        assert metrics(rows[run]) == pytest.approx(scored)
        assert rows[run]["sessions"][0]["status"] == "STATUS_SUCCESS"


def test_a_run_without_scores_has_no_made_up_ones(ask: Ask) -> None:
    rows = session_groups(ask)
    assert metrics(rows[BROKEN]) == {}
    assert rows[BROKEN]["sessions"][0]["status"] == "STATUS_FAILURE"
    assert "z_hp/test_acc" not in metrics(rows[TRIAL])


def test_hparams_are_numbers_and_what_a_resumed_run_ended_with(ask: Ask) -> None:
    rows = session_groups(ask)
    assert rows[TRIAL]["hparams"]["optimizer.lr"] == 0.5
    assert rows[FIRST]["hparams"]["optimizer"] == "Adam"
    assert rows[RESUMED]["hparams"]["optimizer.lr"] == 2e-3
