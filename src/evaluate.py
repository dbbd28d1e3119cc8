"""Score a trained network again, on its own data or on other data: python src/evaluate.py RUN."""

from lightsweep.app import entry

entry.begin(__name__)

from pathlib import Path

from lightsweep.app import entry

EPILOG = """\
On the data of the run the scores must be those of its result.json; a difference is reported, and so are data that
changed since. Other data need the same classes, in any order; they get the size, the channels and the normalisation
of training. Each part gets a folder, RUN/evaluation/test and so on (with --tta RUN/evaluation/tta-flip/test); the
records of the run are not changed.

  python src/evaluate.py outputs/runs/2026-11-21_10-52-37-957b
  python src/evaluate.py latest --split train val test
  python src/evaluate.py latest --split all --data data=image_folder data.root=photos --output photos-scored
"""


def arguments():
    parser = entry.Parser(__doc__.partition(":")[0] + ".", EPILOG)
    parser.add_run()
    parser.add_argument(
        "--split",
        choices=("train", "val", "test", "all"),
        nargs="+",
        default=["test"],
        help="parts to score (default: test)",
    )
    parser.add_argument("--data", metavar="KEY=VALUE", nargs="+", help="other data, as on train.py's line: data=NAME …")
    parser.add_argument("--output", type=Path, metavar="FOLDER", help="default: the folder evaluation of the run")
    parser.add_tta()
    parser.add_device("as in training")
    return parser.parse_args()


def main() -> int:
    """Find the weights and the data, score part after part, write and compare."""
    options = arguments()

    from lightsweep.inference import trained_runs

    weights = trained_runs.find_weights(options.run, options.checkpoint)  # before the imports that take seconds

    from lightsweep.app.arguments import register_resolvers
    from lightsweep.core import files
    from lightsweep.inference import evaluation, predictor, run_data
    from lightsweep.inference.views import VIEWS

    register_resolvers()
    trained = weights.load()
    settings = run_data.data_settings(weights, options.data or [])
    label = "-".join(filter(None, [settings.label, options.tta and f"tta-{options.tta}"]))
    output = options.output or weights.evaluation_folder / label
    if options.output is None:
        files.check_links(weights.evaluation_folder, within=weights.evaluation_folder.parent)
    folders = {part: evaluation.make_folder(output / part) for part in dict.fromkeys(options.split)}

    settings.use_threads()
    hardware = predictor.choose_hardware(options.device or settings.device, trained.precision)
    data = run_data.read_data(settings, trained.description)
    trained_scores = weights.result if settings.own and weights.are_scored and not options.tta else {}
    changes = run_data.describe_changes(weights, settings, data)
    facts = {"checkpoint": str(weights.checkpoint), "epoch": trained.epoch, "data": settings.data, "changes": changes}
    facts["tta"] = options.tta

    views = VIEWS.get(options.tta)
    evaluations = []
    for name, folder in folders.items():
        part = evaluation.Part(name, data)
        evaluations.append(evaluation.evaluate(trained, part, hardware, trained_scores, weights.record, views))
        evaluation.write_evaluation(folder, evaluations[-1], facts)
    evaluation.show_scores(evaluations)
    for line in evaluation.compare_with_training(evaluations, weights.result, changes):
        print(line)
    print(f"written to {output}")
    return 0


if __name__ == "__main__":
    entry.launch_command(main)
