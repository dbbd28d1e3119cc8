"""The callback that shows a run when it has been scored: figures/*.png and a report, and the same in its loggers."""

import json
import logging
from collections.abc import Callable
from functools import partial

from pytorch_lightning.callbacks import Callback

from lightsweep.core import checks
from lightsweep.core.files import replacing, write_whole
from lightsweep.reports import classification_report
from lightsweep.reports.scored import AfterScoring, ScoredRun

log = logging.getLogger(__name__)

FOLDER = "figures"


class RunFigures(Callback, AfterScoring):
    """What cannot be drawn or written costs a warning that names it: the run's record is there already.

    Args:
        samples: images in a grid of them.
        mistakes: images in the grid of the most confidently wrong ones.
        in_trials: show the trials of a sweep too.
    """

    def __init__(self, *, samples: int, mistakes: int, in_trials: bool) -> None:
        checks.whole("callbacks.figures.samples", samples, "[1, 200]")
        checks.whole("callbacks.figures.mistakes", mistakes, "[1, 200]")
        checks.flag("callbacks.figures.in_trials", in_trials)
        self.samples, self.mistakes, self.in_trials = samples, mistakes, in_trials

    def on_scored(self, run: ScoredRun) -> None:
        from lightsweep.reports.run_pictures import pictures  # matplotlib waits until something is drawn

        _attempt(f"report_{run.part}.txt", partial(_keep_report, run))
        for name, draw in pictures(run, samples=self.samples, mistakes=self.mistakes).items():
            _attempt(f"{FOLDER}/{name}.png", partial(_keep_picture, run, name, draw))


def _attempt(name: str, keep: Callable[[], None]) -> None:
    try:
        keep()
    except Exception as error:  # whatever it is: the scores matter more
        log.warning("%s is missing (%s)", name, " ".join(f"{type(error).__name__}: {error}".split()))


def _keep_picture(run: ScoredRun, name: str, draw: Callable[[], bytes]) -> None:
    path = run.folder / FOLDER / f"{name}.png"
    path.parent.mkdir(exist_ok=True)
    png = draw()
    with replacing(path) as temporary:
        temporary.write_bytes(png)
    run.trackers.figure(f"{FOLDER}/{name}", path, len(run.rows))


def _keep_report(run: ScoredRun) -> None:
    report = run.report()
    path = run.folder / f"report_{run.part}.txt"
    write_whole(path, classification_report.as_text(report))
    write_whole(path.with_suffix(".json"), json.dumps(classification_report.as_json(report), indent=1) + "\n")
    run.trackers.text(f"report/{run.part}", path, len(run.rows))
