#!/usr/bin/env bash
# Two minutes, offline: train on the bundled digits, sweep twelve trials, look at the leaderboard. `make demo` runs it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
python=${1:-.venv/bin/python}

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }

say "1. Train one classifier: python src/train.py data=digits optimizer=adamw model.bn=true trainer.max_epochs=10"
"$python" src/train.py data=digits optimizer=adamw model.bn=true trainer.max_epochs=10 threads=1

say "2. Search its hyperparameters: python src/train.py sweep=quick hydra.sweeper.study_name=demo hydra.sweeper.n_jobs=2"
"$python" src/train.py sweep=quick hydra.sweeper.study_name=demo hydra.sweeper.n_jobs=2

say "3. What is in outputs/sweeps/demo"
cut -d, -f1-8 outputs/sweeps/demo/leaderboard.csv

say "Next"
cat <<'TEXT'
  The same sweep for longer, it goes on where it stopped:
      python src/train.py sweep=quick hydra.sweeper.study_name=demo hydra.sweeper.n_jobs=2 hydra.sweeper.n_trials=30
  CIFAR-10 (170 MB are fetched on first use):
      python src/train.py model.hidden=[512,256] model.bn=true model.dropout=0.3
      python src/train.py sweep=mlp hydra.sweeper.n_jobs=2
  Curves in a browser:
      make tensorboard
TEXT
