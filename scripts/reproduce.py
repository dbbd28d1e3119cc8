"""Train missing reference experiments and write docs/reference/RESULTS.md: python scripts/reproduce.py [FAMILY ...]."""

import os
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))  # the package, installed or not

import write_photos
from lightsweep.core.files import ROOT, write_atomic
from reproduction import records, running
from reproduction.experiments import Experiment, read_experiments
from reproduction.page import format_page

PAGE = ROOT / "docs" / "reference" / "RESULTS.md"


def main() -> None:
    every = read_experiments()
    options = parse(every)
    if not options.table_only:
        os.nice(options.nice)  # the runs inherit it
        train(find_tasks(every, options), every, options)
    publish(every, options)


def parse(every: list[Experiment]) -> Namespace:
    families = list(dict.fromkeys(each.family for each in every))
    tables = list(dict.fromkeys(each.table for each in every if each.table))
    known = {*families, *tables, *(each.name for each in every)}
    parser = ArgumentParser(description=__doc__)
    parser.add_argument(
        "chosen",
        metavar="FAMILY",
        nargs="*",
        help=f"of {', '.join(families)}, one of D's tables ({', '.join(tables)}), or a row's name, in the order to run"
        " them; all where none is given",
    )
    parser.add_argument("--seeds", type=int, help="runs of each row; otherwise as many as its entry has")
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time, each on one thread (2)")
    parser.add_argument("--nice", type=int, default=0, help="lower the priority of the runs by so much (0)")
    parser.add_argument("--table-only", action="store_true", help="train nothing, write the page from the records")
    parser.add_argument("--records", type=Path, default=records.FILE, help="file of the records, one a line")
    parser.add_argument("--outputs", type=Path, default=running.OUTPUTS, help="folder of the runs")
    parser.add_argument("--table", type=Path, default=PAGE, help="the page that is written")
    options = parser.parse_intermixed_args()
    if unknown := sorted(set(options.chosen) - known):
        parser.error(f"FAMILY must be one of {', '.join(families)}, or a row's name, got {', '.join(unknown)}")
    for name in ("seeds", "jobs"):
        if (number := getattr(options, name)) is not None and number < 1:
            parser.error(f"--{name} must be >= 1, got {number}")
    options.chosen = options.chosen or families
    return options


def choose(every: list[Experiment], chosen: list[str]) -> list[Experiment]:
    """The experiments of families, tables and names, in the order in which these are named."""
    return list(
        dict.fromkeys(each for name in chosen for each in every if name in (each.family, each.table, each.name))
    )


def has_gpu() -> bool:
    import torch  # takes seconds

    return torch.cuda.is_available()


def find_tasks(
    every: list[Experiment], options: Namespace, has_gpu: Callable[[], bool] = has_gpu
) -> list[running.Task]:
    """The runs that have no record and can run on this machine."""
    able = []
    for each in choose(every, options.chosen):
        if each.gpu and not has_gpu():
            print(f"skipped: {each.name} needs a GPU", flush=True)
        else:
            able.append(each)
    return running.find_missing(running.plan(able, options.seeds, options.outputs.resolve()), options.records)


def train(tasks: list[running.Task], every: list[Experiment], options: Namespace) -> None:
    """Run the tasks; after each run write its record and the page."""
    if any(task.experiment.family == "e" for task in tasks):
        write_photos.write_once()
    left = len(tasks)
    print(f"{left} runs to do, {options.jobs} at a time; their folders and logs are in {options.outputs}", flush=True)

    def ended(task: running.Task) -> None:
        nonlocal left
        left -= 1
        at_once = max(1, options.jobs // task.experiment.threads)
        record = records.make_record(task.experiment, task.seed, task.folder, task.log, at_once)
        records.write_record(record, options.records)
        print(f"{describe_end(task, record)} ({left} left)", flush=True)
        publish(every, options)

    running.run_all(tasks, options.jobs, ended)


def describe_end(task: running.Task, record: records.Record) -> str:
    if record["status"] != "completed":
        return f"{record['status']} {task}: {record.get('error', '')}"
    reported = task.experiment.reported.get("test/acc", "no number")
    return (
        f"ended   {task}: test/acc {record['test/acc']:.4f} (reported: {reported}),"
        f" {record['epochs']} epochs, {record['seconds']:.0f} s"
    )


def publish(every: list[Experiment], options: Namespace) -> None:
    write_atomic(options.table, format_page(every, records.read_records(every, options.records)))


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("interrupted: the same command resumes")
