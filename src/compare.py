"""Compare runs: python src/compare.py RUN RUN ... prints what differs; --html FILE writes a page."""

from lightsweep.app import entry

entry.begin(__name__)

import argparse
from collections.abc import Sequence
from pathlib import Path

from lightsweep.app import entry


def main(typed: Sequence[str] | None = None) -> int:
    """Find the runs, compare them, print and write the comparison."""
    options = parser().parse_args(typed)

    from lightsweep.reports.comparison import compare_runs, print_comparison
    from lightsweep.runs import run_folder

    comparison = compare_runs([run_folder.find_folder(name) for name in options.runs])
    if options.html is not None:
        from lightsweep.reports import comparison_page

        comparison_page.write_comparison(options.html, comparison)
    print_comparison(comparison)
    entry.print_written(options.html)
    return 0


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="compare.py",
        description=(
            "Compare runs with the first: which config keys differ, scores, curves, classes. Runs that differ by their"
            " seed alone are one group, and groups are compared by Welch's t-test."
        ),
        epilog="example: python src/compare.py outputs/sweeps/mlp/confirm/best-* outputs/sweeps/mlp/confirm/baseline-*",
    )
    made.add_argument("runs", nargs="+", metavar="RUN", help=entry.RUNS_HELP)
    made.add_argument("--html", type=Path, metavar="FILE", help="write one page that opens offline in any browser")
    return made


if __name__ == "__main__":
    entry.launch_command(main)
