"""Train what is missing of the reference experiments and write RESULTS.md: python scripts/reproduce.py [FAMILY ...]."""

import os
import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))  # the package, installed or not

import write_photos
from lightsweep.core.files import write_whole
from lightsweep.runs.run_folder import ROOT
from reproduction import records, rows, runs, table

TABLE = ROOT / "RESULTS.md"


def main() -> None:
    every = rows.read_all()
    options = parse(every)
    if not options.table_only:
        os.nice(options.nice)  # the runs inherit it
        train(in_order(every, options.chosen), every, options)
    publish(every, options)


def parse(every: list[rows.Row]) -> Namespace:
    families = list(dict.fromkeys(row.family for row in every))
    tables = list(dict.fromkeys(row.table for row in every if row.table))
    known = {*families, *tables, *(row.name for row in every)}
    parser = ArgumentParser(description=__doc__)
    parser.add_argument(
        "chosen",
        metavar="FAMILY",
        nargs="*",
        help=f"of {', '.join(families)}, one of D's tables ({', '.join(tables)}), or a row's name, in the order to run"
        " them; all where none is given",
    )
    parser.add_argument("--seeds", type=int, help="runs of each row; otherwise as many as its config says")
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time, each on one thread (2)")
    parser.add_argument("--nice", type=int, default=0, help="lower the priority of the runs by so much (0)")
    parser.add_argument("--table-only", action="store_true", help="train nothing, write the table from the records")
    parser.add_argument("--results", type=Path, default=records.RESULTS, help="folder of the records")
    parser.add_argument("--outputs", type=Path, default=runs.OUTPUTS, help="folder of the runs")
    parser.add_argument("--table", type=Path, default=TABLE, help="the file that is written")
    options = parser.parse_intermixed_args()
    if unknown := sorted(set(options.chosen) - known):
        parser.error(f"FAMILY must be one of {', '.join(families)}, or a row's name, got {', '.join(unknown)}")
    for name in ("seeds", "jobs"):
        if (number := getattr(options, name)) is not None and number < 1:
            parser.error(f"--{name} must be >= 1, got {number}")
    options.chosen = options.chosen or families
    return options


def in_order(every: list[rows.Row], chosen: list[str]) -> list[rows.Row]:
    """The rows that families and names choose, in the order in which they are named."""
    names = dict.fromkeys(row.name for each in chosen for row in every if each in (row.family, row.table, row.name))
    by_name = {row.name: row for row in every}
    return [by_name[name] for name in names]


def train(chosen: list[rows.Row], every: list[rows.Row], options: Namespace) -> None:
    """Run what is missing; after each run write its record and the table."""
    outputs = options.outputs.resolve()
    for row in [row for row in chosen if row.gpu and not has_gpu()]:
        print(f"left out: {row.name} needs a GPU", flush=True)
        chosen.remove(row)
    tasks = runs.missing(runs.plan(chosen, options.seeds, outputs), options.results)
    if any(task.row.family == "e" for task in tasks):
        write_photos.once()
    left = len(tasks)
    print(f"{left} runs to do, {options.jobs} at a time; their folders and logs are in {outputs}", flush=True)

    def ended(task: runs.Task) -> None:
        nonlocal left
        left -= 1
        record = records.take(task.row, task.seed, task.folder, task.log, max(1, options.jobs // task.row.threads))
        records.write(record, records.path(task.row, task.seed, options.results))
        print(f"{tell(task, record)} ({left} left)", flush=True)
        publish(every, options)

    runs.run_all(tasks, options.jobs, ended)


def has_gpu() -> bool:
    import torch  # takes seconds

    return torch.cuda.is_available()


def tell(task: runs.Task, record: records.Record) -> str:
    """What became of a run, in a line."""
    if record["status"] != "completed":
        return f"{record['status']} {task}: {record.get('error', '')}"
    reported = task.row.reported.get("test/acc", "no number")
    return (
        f"ended   {task}: test/acc {record['test/acc']:.4f} (reported: {reported}),"
        f" {record['epochs']} epochs, {record['seconds']:.0f} s"
    )


def publish(every: list[rows.Row], options: Namespace) -> None:
    found = records.read_all(every, options.results)
    write_whole(options.table, table.text(every, found))


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("interrupted: the same command goes on")
