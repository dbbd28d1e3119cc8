"""What RESULTS.md says that does not follow from the records."""

HOW = """\
`python scripts/reproduce.py` trains what is missing and writes this file; `--table-only` rebuilds it from the records
in `results/`. Each row is a config: `python src/train.py experiment=reference/a4`; a family is run by
`python src/train.py -m '+experiment/reference=glob(a*)'`. Accuracies are means over n seeds, ± their standard
deviation; the difference is ours less the report's, on the test set. Parameters are counted as Keras does, with
BatchNorm's running mean and variance. Behind a slash stands what the report says of epochs, seconds (on its machine)
and the last learning rate. Ours are the seconds of the fastest and of the slowest of the n runs: other work shared the
machine with some, which made them up to five times as long, so the seconds of a single run say little. Best or last
weights are scored, as in the report; the best are those of the epoch that did best on the metric that early stopping
watches."""

ABOUT = {
    "e": """\
Not the report's photographs, but CIFAR-10 written as 5,721 JPEG files, ten to one by class, of 48 to 96 pixels a side
rather than all 64 x 64, since photographs are unequal (`scripts/write_photos.py`); they are read as 64 x 64. 4,085 to
train on, a tenth of them for validation, and 1,636 to test. The report's data is another, so there is nothing to
compare with but its rows among each other.""",
    "best": """\
Two threads on two cores, one run at a time. Short tests ran beside best_mlp's second seed, and longer ones beside
best_mlp_pixels: their seconds are longer for it, the others' are those of a machine that does nothing else.""",
}

KERAS = """\
Honoured: the first tenth as validation, the last partial batch, initializers and zero biases, BatchNorm's momentum and
epsilon, the epsilon of Adam, AdamW and RMSprop (RMSprop's inside the root, `optimizer=rmsprop_keras`), AdamW's decay of
all variables, L2 on hidden kernels only and in the watched loss (`val/objective`), the plateau's patience and
threshold, the order of layers, the scored weights. `conf/experiment/reference/_keras.yaml` has what all rows share.
That pixels go to [-1, 1] is assumed for D, that the first tenth validates for A and D.

Left as torch has it, because more would bend the program for less than seeds differ by:

- BatchNorm's running variance is the unbiased one, larger by n / (n - 1): 1.6 % at batch 64, so 0.8 % in the standard
  deviation that scores divide by.
- Keras adds Adam's epsilon before the bias correction: in the first steps it weighs up to 32 times as much, 3e-6
  against 1e-7, beside a gradient's size; it matters to weights with smaller gradients, for some hundred steps.
- After the plateau cuts the rate, Keras's momentum still carries steps of the old rate, torch's carries gradients: some
  ten steps after each cut, of 352 in an epoch (A3, B3).
- Random numbers are others: single runs agree no better than seeds do."""
