"""Average several trained networks that go well together: python src/ensemble.py RUNS."""

from lightsweep.app import entry

entry.begin(__name__)

import sys
from pathlib import Path

from lightsweep.app import entry
from lightsweep.core.text import printable

EPILOG = """\
The members are picked greedily, with replacement (Caruana et al. 2004): on one half of the validation images, again
and again, the network that raises the score of the mean of the probabilities most. The other half and test say what
that gains over the best single network. predict.py, evaluate.py and export.py take the folder as RUN.

  python src/ensemble.py outputs/sweeps/mlp
  python src/ensemble.py outputs/sweeps/mlp outputs/sweeps/cnn --members 10 --output both
  python src/evaluate.py outputs/sweeps/mlp/ensemble
"""


def arguments():
    from lightsweep.runs.run_folder import MOST_MEMBERS

    parser = entry.Parser(__doc__.partition(":")[0] + ".", EPILOG)
    parser.add_argument("runs", nargs="+", metavar="RUNS", help=f"{entry.RUNS_HELP}; of a sweep its completed trials")
    parser.add_argument(
        "--members",
        type=entry.positive_integer,
        default=5,
        metavar="N",
        help=f"the number of picks, 1 to {MOST_MEMBERS}; a network may be picked several times, which is its weight"
        " (default: 5)",
    )
    parser.add_argument(
        "--output",
        type=Path,
        metavar="FOLDER",
        help="default: SWEEP/ensemble; of several RUNS, or of a run, outputs/ensembles/NAME",
    )
    parser.add_device("as in training")
    options = parser.parse_args()
    if options.members > MOST_MEMBERS:
        parser.error(f"argument --members: must be at most {MOST_MEMBERS}, got {options.members}")
    return options


def main() -> int:
    """Find the candidates, score each on validation, pick members, check the ensemble and write it."""
    options = arguments()

    from lightsweep.app.arguments import register_resolvers
    from lightsweep.inference import candidates, ensemble_making
    from lightsweep.training import trainer

    register_resolvers()
    trainer.quiet_libraries()
    folder = ensemble_making.output_folder(options.output, options.runs)
    found, left_out, metric = candidates.find_candidates(options.runs)
    for line in left_out:
        print(printable(line), file=sys.stderr)
    scorer = candidates.Scorer(found[0], options.device)
    probabilities = scorer.of_all(found)
    choice = ensemble_making.choose(found, probabilities, scorer.data.labels("val"), metric, options.members)
    tested = ensemble_making.write(folder, choice, scorer, left_out)
    ensemble_making.show(choice, tested)
    print(printable(f"written to {folder}"))
    return 0


if __name__ == "__main__":
    entry.launch_command(main)
