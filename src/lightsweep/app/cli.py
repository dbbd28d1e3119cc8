"""The command ``lightsweep``: how far a sweep is, and what it has found, of any app, from its study."""

import argparse
import importlib.util
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from lightsweep.app import entry
from lightsweep.core import secrets
from lightsweep.core.errors import ConfigError
from lightsweep.core.text import printable_line

EXIT_CODES = {"finished": 0, "running": 3, "stopped": 4, "empty": 5, "failed": 6}  # of `status`; 1 and 2 are errors
_POINTS = 10  # of a Pareto front whose commands are printed
_STUDY_HELP = "a sweep's folder, a journal, or an Optuna URL such as sqlite:///study.db"
_STATUS_EPILOG = """exit codes:
  0  finished: the wanted trials have ended, or no untried point is left
  1  the study cannot be read
  2  mistyped
  3  running: a sweeper works on it; its workers may still be starting
  4  stopped: trials are missing, and nobody runs them; the sweep's command continues it
  5  empty: no trial was started, and nobody works on it
  6  failed: the sweep ended with an error, such as too many failed trials"""


def main() -> None:
    """Run ``sys.argv``."""
    entry.launch_command(partial(run, sys.argv[1:]))


def run(typed: Sequence[str]) -> int:
    """Run a command; returns its exit code."""
    options = parser().parse_args(typed)
    return options.run(options)


def parser() -> argparse.ArgumentParser:
    made = entry.Parser(
        "Look at a sweep, while it runs or later. Nothing is written into its study.", prog="lightsweep"
    )
    commands = made.add_subparsers(required=True, metavar="COMMAND", parser_class=entry.Parser)
    report = commands.add_parser("report", help="leaderboard, failures, verdict, the command for the best; a page")
    status = commands.add_parser("status", help="how far a sweep is; for scripts", epilog=_STATUS_EPILOG)
    for command in (report, status):
        add = command.add_argument
        add("study", metavar="STUDY", help=_STUDY_HELP)
        add("--study-name", metavar="NAME", help="where the storage holds several studies")
        add("--storage", metavar="URL", help="the study's storage, where it is not in the sweep's folder")
    report.set_defaults(run=_report)
    report.add_argument("--top", type=entry.positive_integer, metavar="N", help="only the first N rows")
    for name in ("csv", "markdown", "json"):
        report.add_argument(
            f"--{name}", nargs="?", const="-", metavar="FILE", help=f"write {name}, to standard output without FILE"
        )
    report.add_argument("--html", type=entry.new_file, metavar="FILE", help="write one page that opens offline")
    status.set_defaults(run=_status)
    status.add_argument("--json", action="store_true", help="one JSON object")
    return made


def _report(options: argparse.Namespace) -> int:
    missing = [name for name in ("jinja2", "plotly") if importlib.util.find_spec(name) is None]
    if options.html is not None and missing:
        raise ConfigError(f"--html needs {' and '.join(missing)}: pip install 'lightsweep[report]'")
    from lightsweep.core.files import write_atomic
    from lightsweep.reports import page, table, table_text, trials
    from lightsweep.reports.finding import Found
    from lightsweep.reports.study import copy_study, judge, open_study
    from lightsweep.sweeper.status import read_sweep

    opened, folder = open_study(options.study, options.study_name, options.storage)
    sweep = read_sweep(opened)
    found = Found(trials.runs_of_trials(opened, sweep, folder))
    selection = [(each, each.runs[: options.top]) for each in table.build_tables(found.runs)]
    study = copy_study(opened, sweep.search, folder)
    if options.html is not None:
        from lightsweep.reports import overview

        overview.write_page(options.html, found, selection, [folder or secrets.redact(options.study)], study)
    texts = {
        "csv": partial(table_text.format_csv, selection),
        "markdown": partial(table_text.format_markdown, selection),
        "json": partial(table_text.format_json, selection, {}),
    }
    written = {name: getattr(options, name) for name in texts if getattr(options, name) is not None}
    for name, file in written.items():
        if file == "-":
            sys.stdout.write(texts[name]())
        else:
            write_atomic(Path(file), texts[name]())
    if "-" not in written.values():
        table_text.print_report(found, selection, most=options.top)
        lines = judge(study, sweep.metric)
        if selection and (best := selection[0][0].best) is not None:
            command, note = page.find_training_command(best)
            lines += [f"run the best one, {best.name}: {command}"] * bool(command) + [note] * bool(note)
        for point in selection[0][0].front[:_POINTS] if selection else ():
            command, _ = page.find_training_command(point)
            lines += [f"run {point.name}: {command}"] * bool(command)
        for line in lines:
            table_text.print_line(table_text.open_console(), line)
    entry.print_written(options.html, *written.values())
    return 0


def _status(options: argparse.Namespace) -> int:
    from lightsweep.reports.study import open_study
    from lightsweep.reports.table_text import make_finite
    from lightsweep.sweeper.status import read_status

    status = read_status(open_study(options.study, options.study_name, options.storage)[0])
    if options.json:
        print(json.dumps(make_finite(asdict(status)), allow_nan=False))
    else:
        for line in _describe(status):
            print(printable_line(line))
    return EXIT_CODES[status.state]


def _describe(status: Any) -> list[str]:
    from lightsweep.sweeper.view import format_duration

    wanted = "" if status.n_trials is None else f" of {status.n_trials}"
    counts = ", ".join(f"{count} {state}" for state, count in status.counts.items() if count)
    state = "has failed" if status.state == "failed" else f"is {status.state}"
    lines = [f"{status.study} {state}: {status.ended}{wanted} trials have ended ({counts or 'none'})"]
    lines += [status.why] * bool(status.why)
    for point in status.front or ():
        params = " ".join(f"{key}={value}" for key, value in point["params"].items())
        values = " ".join(f"{name} {value:.6g}" for name, value in point["values"].items())
        lines.append(f"on the front {values} (trial {point['trial']}) {params}")
    if status.best is not None:
        params = " ".join(f"{key}={value}" for key, value in status.best["params"].items())
        lines.append(f"best {status.metric} {status.best['value']:.6g} (trial {status.best['trial']}) {params}")
    for each in status.running:
        value = "" if each["value"] is None else f", {status.metric} {each['value']:.6g} at step {each['step']}"
        lines.append(f"trial {each['trial']} runs for {format_duration(each['seconds'] or 0.0)}{value}")
    if status.seconds_left is not None:
        lines.append(f"about {format_duration(status.seconds_left)} left")
    return lines
