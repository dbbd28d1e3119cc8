#!/usr/bin/env bash
# Offline, on the bundled digits: train, sweep, compare the best with the defaults, write a page. `make demo` runs it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
python=${1:-.venv/bin/python}
sweep=${LIGHTSWEEP_OUTPUTS:-outputs}/sweeps/demo

run() {
  printf '\n\033[1m%s python %s\033[0m\n' "$1" "${*:2}"
  "$python" "${@:2}"
}

run "1. Train one classifier:" src/train.py data=digits optimizer=adamw model.bn=true trainer.max_epochs=5 threads=1
run "2. Search for better settings:" src/train.py sweep=quick hydra.sweeper.study_name=demo hydra.sweeper.n_jobs=2 \
  hydra.sweeper.confirm=2
run "3. See what mattered:" src/report.py "$sweep" --html "$sweep/report.html"

cat <<'TEXT'

Next:
  the same search for longer:  python src/train.py sweep=quick hydra.sweeper.study_name=demo hydra.sweeper.n_trials=40
  CIFAR-10 (170 MB, fetched once):  python src/train.py 'model.hidden=[512,256]' model.bn=true model.dropout=0.3
  curves in a browser:  make tensorboard
TEXT
printf '\nthe page of the search: %s\n' "$(realpath "$sweep/report.html")"
