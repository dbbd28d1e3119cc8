"""Write a trained network as an ONNX file, checked against PyTorch: python src/export.py RUN."""

from lightsweep.app import entry

entry.begin(__name__)

import sys

from lightsweep.app import entry

EPILOG = """\
The graph takes uint8 images [batch, channels, height, width] with pixels from 0 to 255, any number of them, and
normalises them itself. Its outputs are logits and probabilities; the metadata hold the class names in their order.
It is written only if onnxruntime agrees with PyTorch to 1e-4, on noise and on images of the run's own data.

  python src/export.py latest
  python src/export.py outputs/sweeps/mlp --output classifier.onnx
"""


def arguments():
    parser = entry.Parser(__doc__.partition(":")[0] + ".", EPILOG)
    parser.add_run()
    parser.add_argument("--format", choices=("onnx",), default="onnx", help="the only one so far")
    parser.add_argument(
        "--output", type=entry.new_file, metavar="FILE", help="default: best.onnx next to the checkpoint"
    )
    return parser.parse_args()


def main() -> int:
    """Find the weights, gather images, write and check."""
    options = arguments()

    from lightsweep.inference import trained_runs

    weights = trained_runs.find_weights(options.run, options.checkpoint)  # before the imports that take seconds

    from lightsweep.app.arguments import register_resolvers
    from lightsweep.core import files
    from lightsweep.inference import predictor, run_data

    register_resolvers()
    predictor.require_packages()
    trained = weights.load()
    trained.description.require_pixels()
    path = options.output or weights.checkpoint.with_suffix(".onnx")
    if options.output is None and weights.run is not None:
        files.check_links(path.parent, within=weights.run)

    images = predictor.random_images(trained.description.input_shape)
    real = run_data.sample_images(weights, trained.description)
    if not len(real):
        print("the run's own data cannot be read at once: checked on noise alone", file=sys.stderr)
    batches = [*images, real] if len(real) else images
    difference = predictor.export_onnx(trained, path, batches, predictor.describe_export(trained, weights))
    print(
        f"{path}: {path.stat().st_size:,} bytes; onnxruntime and PyTorch differ by at most {difference:.1e}"
        f" on {sum(map(len, batches))} images ({len(real)} real)"
    )
    return 0


if __name__ == "__main__":
    entry.launch_command(main)
