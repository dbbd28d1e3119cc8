"""How fast is it, how well does it search: python scripts/benchmark.py COMMAND [--help]."""

import sys
from argparse import ArgumentDefaultsHelpFormatter, ArgumentParser
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))  # train.py and the package, installed or not

from benchmarks import (
    books,
    curves,
    places,
    population,
    reading,
    reporting,
    searching,
    stepping,
    sweeping,
    threads,
    training,
)

# Each module has a docstring, add_options(parser) and run(options).
COMMANDS = {
    "train": training,
    "threads": threads,
    "sweep": sweeping,
    "books": books,
    "population": population,
    "steps": stepping,
    "search": searching,
    "places": places,
    "data": reading,
    "report": reporting,
    "curves": curves,
}


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, module in COMMANDS.items():
        summary = str(module.__doc__).splitlines()[0]
        command = commands.add_parser(
            name, help=summary, description=summary, formatter_class=ArgumentDefaultsHelpFormatter
        )
        module.add_options(command)
        command.set_defaults(run=module.run)
    options = parser.parse_args()
    options.run(options)


if __name__ == "__main__":
    main()
