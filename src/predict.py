"""Classify image files with a trained network: python src/predict.py RUN IMAGE... | FOLDER."""

from lightsweep.app import entry

entry.begin(__name__)

import sys
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from lightsweep.app import entry

STDOUT = Path("-")
EPILOG = """\
A folder is searched with all its subfolders, for the files that training would take; hidden ones are passed over, and
other files are counted at the end. Where the direct subfolders of a folder are named as classes, the accuracy is
printed too.

A file that cannot be used is named, and the others are classified. The exit code is 1 where a file that was named on
the line could not be used, or nothing could be classified; bad files inside a folder alone leave it 0.

  python src/predict.py outputs/runs/2026-11-21_10-52-37-957b photo.jpg --top 5
  python src/predict.py latest photos/ --csv predictions.csv
  python src/predict.py outputs/sweeps/mlp photos/ --json - | jq '.images[0]'
"""


def arguments():
    parser = entry.Parser(__doc__.partition(":")[0] + ".", EPILOG)
    parser.add_run()
    parser.add_argument("paths", metavar="IMAGE|FOLDER", nargs="+", type=Path, help="image files, or folders of them")
    parser.add_argument(
        "--top", type=entry.positive_integer, default=3, metavar="K", help="classes an image (default: 3)"
    )
    parser.add_argument("--csv", type=entry.new_file, metavar="FILE", help="keep all as CSV; -: in the standard output")
    parser.add_argument("--json", type=entry.new_file, metavar="FILE", help="the same as JSON")
    parser.add_tta()
    parser.add_argument(
        "--batch-size", type=entry.positive_integer, default=256, help="images a forward pass (default: 256)"
    )
    parser.add_device("auto")
    options = parser.parse_args()
    if options.csv == options.json == STDOUT:
        parser.error("only one of --csv and --json can be -")
    return options


def main() -> int:
    """Find the weights and the files, classify them batch by batch, and print a summary."""
    options = arguments()

    from lightsweep.inference import trained_runs

    weights = trained_runs.find_weights(options.run, options.checkpoint)  # before the imports that take seconds

    from lightsweep.data.decode import decode_image
    from lightsweep.inference.predictions import (
        Classification,
        CsvWriter,
        JsonWriter,
        TableWriter,
        Writer,
        decode_files,
        list_files,
        open_output,
        show_progress,
    )
    from lightsweep.inference.predictor import Predictor, choose_hardware
    from lightsweep.inference.views import VIEWS

    trained = weights.load()
    trained.description.require_pixels()
    where = choose_hardware(options.device or "auto", trained.precision)
    predictor = Predictor(trained, where, VIEWS.get(options.tta))
    inputs = trained.description
    to_pixels = partial(decode_image, image_size=inputs.image_size, resize=inputs.resize, grayscale=inputs.grayscale)
    top = min(options.top, len(inputs.class_names))

    table = TableWriter(top)
    with ExitStack() as files:
        writers: list[Writer] = [table]
        if options.csv:
            writers.append(CsvWriter(files.enter_context(open_output(options.csv)), top))
        if options.json:
            writers.append(JsonWriter(files.enter_context(open_output(options.json))))
        classification = Classification(predictor, inputs.class_names, writers, top=top)
        batches = decode_files(list_files(options.paths), to_pixels, batch_size=options.batch_size)
        for batch in show_progress(batches):
            classification.take(batch)
        summary = classification.end({"checkpoint": str(weights.checkpoint), "class_names": inputs.class_names})
    if STDOUT in (options.csv, options.json):
        print(*summary, sep="\n", file=sys.stderr)
    else:
        table.show()
        print(*summary, sep="\n")
    return classification.exit_code


if __name__ == "__main__":
    entry.launch_command(main)
