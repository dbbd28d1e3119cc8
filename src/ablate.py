"""Which setting mattered, measured: python src/ablate.py SWEEP trains the path from the baseline to the best trial."""

from lightsweep.app import entry

entry.begin(__name__)

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from lightsweep.app import entry

_EPILOG = """examples:
  python src/ablate.py outputs/sweeps/mlp --seeds 3 --jobs 2
  python src/ablate.py outputs/sweeps/mlp --from 3 --to best --leave-one-out
  python src/ablate.py --from RUN --to RUN"""


def main(typed: Sequence[str] | None = None) -> int:
    """Find the two configurations, train what lies between them, draw a picture of it."""
    options = parser().parse_intermixed_args(typed)

    from lightsweep.app import ablation_ends

    asked = ablation_ends.prepare(options)

    import train
    from lightsweep.reports import ablation
    from lightsweep.sweeper.ablation_results import ABLATION_FILE, TABLE_FILE

    os.environ["HYDRA_MAIN_MODULE"] = "__main__"  # as for a script: conf/ lies beside src/
    sys.argv = [train.__file__, *asked.arguments]
    entry.launch_app(train.main)
    picture = ablation.write_picture(asked.folder)
    files = [asked.folder / name for name in (ABLATION_FILE, TABLE_FILE)]
    entry.print_written(*files, picture)
    return 0


def parser() -> argparse.ArgumentParser:
    made = entry.Parser(
        "Measure how much each change between two configurations is worth, with fresh seeds and 95 % intervals. A path"
        " makes one change after the other, at each step the one that helps most; leave-one-out undoes each alone. What"
        " was trained already is not trained again. A sweep and its trials stay as they are.",
        _EPILOG,
        prog="ablate.py",
    )
    add = made.add_argument
    words = "a sweep that has ended, its folder or its name in outputs; overrides for all runs, threads=1"
    add("words", nargs="*", metavar="SWEEP, KEY=VALUE", help=words)
    end = "baseline, best, a trial's number, a run (its folder, or its name in outputs), or a config file"
    add("--from", dest="start", metavar="END", help=f"{end} (default: baseline)")
    add("--to", dest="end", metavar="END", help="the same (default: best)")
    add("--seeds", type=_seeds, default=3, metavar="N", help="runs of each configuration, 1 to 100 (default: 3)")
    add("--jobs", type=entry.positive_integer, default=1, metavar="N", help="runs at a time (default: 1)")
    how = made.add_mutually_exclusive_group()
    how.add_argument("--path", action="store_true", help="whatever it takes (default: up to 60 trainings)")
    how.add_argument("--leave-one-out", action="store_true", help="each change alone undone (default: above 60)")
    add("--test", action="store_true", help="score the two ends on test, too")
    add("--output", type=Path, metavar="FOLDER", help="of the results (default: the sweep's; else outputs/ablations)")
    add("--storage", metavar="URL", help="the study's, where it is not in the sweep's folder")
    return made


def _seeds(text: str) -> int:
    from lightsweep.sweeper.ablation import MOST_SEEDS

    if not text.isdecimal() or not 1 <= int(text) <= MOST_SEEDS:
        raise argparse.ArgumentTypeError(f"must be an integer in [1, {MOST_SEEDS}], got {text!r}")
    return int(text)


if __name__ == "__main__":
    entry.launch_command(main)
