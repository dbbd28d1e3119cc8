"""Compare many runs: python src/report.py [PATHS ...] prints a leaderboard; --html FILE writes a page."""

from lightsweep.app import entry

entry.begin(__name__)

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from lightsweep.app import entry
from lightsweep.core.files import CONF, OUTPUTS


def main(typed: Sequence[str] | None = None) -> int:
    """Find the runs, filter and sort them, print and write the tables."""
    options = parser().parse_args(typed)
    if options.effects:
        _check_effects(options)

    from lightsweep.reports import columns, finding, table, table_text
    from lightsweep.runs import run_folder

    paths = [run_folder.find_folder(str(name)) for name in options.paths or [_outputs()]]
    found = finding.find_runs(paths)
    chosen = finding.mark_baselines(finding.fold_seeds(found.runs))
    known = columns.list_columns(chosen)
    if options.filter is not None:
        fits = columns.parse_filter(options.filter, known)
        chosen = [run for run in chosen if fits(run)]
    group_by = options.group_by
    if group_by is not None:
        group_by = [columns.resolve_column(name, known, option="--group-by") for name in group_by.split(",") if name]
    tables = table.build_tables(chosen, group_by=group_by)
    selection = [(each, _choose_rows(each, options, known)) for each in tables]
    measured = None
    if options.effects:
        from lightsweep.reports import effects_text, effects_view

        measured = effects_view.measure_tables(tables)

    if options.html is not None:
        from lightsweep.reports import overview, study

        searched = study.find_study(paths[0], options.storage) if len(paths) == 1 else None
        shown = next((each for _, each in measured or () if not isinstance(each, str)), None)
        overview.write_page(options.html, found, selection, paths, searched, shown)
    if measured is None:
        content = {
            "csv": lambda: table_text.format_csv(selection),
            "markdown": lambda: table_text.format_markdown(selection),
            "json": lambda: table_text.format_json(selection, found.broken),
        }
    else:
        content = {
            "csv": lambda: effects_view.format_csv(measured),
            "markdown": lambda: effects_text.format_markdown(measured),
            "json": lambda: effects_view.format_json(measured, found.broken),
        }
    formats = {name: make for name, make in content.items() if getattr(options, name) is not None}
    for name, make in formats.items():
        _write(getattr(options, name), make())
    if "-" in [getattr(options, name) for name in formats]:
        for line in table_text.describe_problems(found):
            print(line, file=sys.stderr)
    elif measured is None:
        table_text.print_report(found, selection, most=options.top)
    else:
        effects_text.print_effects(measured, table_text.describe_problems(found))
    entry.print_written(options.html, *(getattr(options, name) for name in formats))
    return 0


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="report.py",
        description="Read every result.json below some folders and rank the runs, by validation, never by test scores.",
        epilog="example: python src/report.py outputs/sweeps/mlp --filter 'optimizer=adamw and val/acc>0.5' --top 10",
    )
    add = made.add_argument
    add(
        "paths",
        nargs="*",
        type=Path,
        action=_Paths,
        metavar="PATHS",
        help=f"{entry.RUNS_HELP} (default: outputs)",
    )
    add("--sort", metavar="COLUMN", help="order by another column; not by test scores")
    add("--reverse", action="store_true", help="the other way round")
    add(
        "--top",
        type=entry.positive_integer,
        metavar="N",
        help="only the first N rows of each table (500 on the terminal)",
    )
    add("--filter", metavar="EXPRESSION", help="= != < <= > >= with and, or, not and parentheses")
    add(
        "--group-by",
        nargs="?",
        const="",
        action=_FileOrStandardOutput,
        metavar="KEYS",
        help="mean, standard deviation and n over seeds; of runs equal in KEYS (a,b), or in all but the seed",
    )
    add(
        "--effects",
        action="store_true",
        help="which setting mattered: main effects with intervals, interactions, and how many seeds are missing;"
        " --csv, --markdown and --json write these",
    )
    for name in ("csv", "markdown", "json"):
        add(
            f"--{name}",
            nargs="?",
            const="-",
            action=_FileOrStandardOutput,
            metavar="FILE",
            help=f"write {name.upper() if name != 'markdown' else 'Markdown'}, to standard output without FILE",
        )
    add("--html", type=Path, metavar="FILE", help="write one page that opens offline in any browser")
    add("--storage", metavar="URL", help="the study's database, where it is not in its folder (with --html)")
    return made


class _FileOrStandardOutput(argparse.Action):
    """``--csv FILE``, or ``--csv`` for standard output; ``--csv outputs`` does not take the folder for the file.

    ``--group-by data`` names the config group, even where there is a folder of that name.
    """

    def __call__(self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values, option=None) -> None:
        is_group = self.dest == "group_by" and values in {folder.name for folder in CONF.iterdir() if folder.is_dir()}
        if values and Path(values).is_dir() and not is_group:
            namespace.paths = [*(namespace.paths or []), Path(values)]
            values = self.const
        setattr(namespace, self.dest, values)


class _Paths(argparse.Action):
    """Positional folders, added to those that an option took for its file."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values, option=None) -> None:
        namespace.paths = [*(namespace.paths or []), *values]


def _choose_rows(table, options: argparse.Namespace, known: Sequence[str]):
    from lightsweep.reports.columns import resolve_column
    from lightsweep.reports.table import sort_runs

    rows = list(table.runs)
    if options.sort is not None:
        rows = sort_runs(table, resolve_column(options.sort, known, option="--sort"), reverse=options.reverse)
    elif options.reverse:
        rows.reverse()
    return rows[: options.top]


def _check_effects(options: argparse.Namespace) -> None:
    from lightsweep.core.errors import ConfigError

    for name in ("sort", "reverse", "top", "group_by"):
        if getattr(options, name) not in (None, False):
            option = name.replace("_", "-")
            raise ConfigError(f"--{option} does not go with --effects, which are of all runs; --filter chooses some")


def _outputs() -> Path:
    here = Path("outputs")  # a shorter name for it
    return here if here.is_dir() and here.samefile(OUTPUTS) else OUTPUTS


def _write(name: str, text: str) -> None:
    from lightsweep.core.files import write_atomic

    if name == "-":
        sys.stdout.write(text)
    else:
        write_atomic(Path(name), text)


if __name__ == "__main__":
    entry.launch_command(main)
