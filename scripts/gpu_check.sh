#!/usr/bin/env bash
# What only a GPU can show, in under eight minutes: scripts/gpu_check.sh FOLDER [--only STEP,...] [--tiny]
#   tests   the tests marked gpu
#   bench   images a second of training, compared with a plain loop and the usual template, in float32 and bfloat16
#   sweep   trials a minute of eight workers that share the GPU, and of a population of 64: sweep=mlp on CIFAR-10
#   population  the same sweep in turns: one trial at a time, workers, populations of 16 and 64
#   best    experiment=best_mlp_gpu for two minutes
# FOLDER gets results.json, results.txt and logs.tar.gz. LIGHTSWEEP_DATA names a CIFAR-10; else images are generated.
# --tiny: the same in small, on the CPU, to see that the script works. PYTHON names the interpreter.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

folder= steps=tests,bench,sweep,population,best tiny=
while (($#)); do
  case $1 in
    --only) steps=$2; shift ;;
    --tiny) tiny=1 ;;
    -*) echo "unknown option $1" >&2; exit 2 ;;
    *) folder=$1 ;;
  esac
  shift
done
folder=${folder:-${OUT:?name a folder for the results}}
python=${PYTHON:-python3}
mkdir -p "$folder"
folder=$(realpath "$folder")
work=$(mktemp -d)
logs=$work/logs
mkdir "$logs"
trap 'rm -rf "$work"' EXIT
export PYTHONUNBUFFERED=1
unset LIGHTSWEEP_OUTPUTS LIGHTSWEEP_STORAGE
[ -n "${LIGHTSWEEP_DATA:-}" ] || unset LIGHTSWEEP_DATA

if [ "$tiny" ]; then
  export LIGHTSWEEP_GPU_CHECK_DEVICE=cpu OMP_NUM_THREADS=1
  on=(trainer.accelerator=cpu threads=1)
else
  on=()
fi

step() { # NAME SECONDS COMMAND...: its output in NAME.log, its end in steps.tsv; a failure stops nothing
  local name=$1 most=$2 started code since=$SECONDS
  shift 2
  started=$(date +%s.%N)
  printf '%s: %s\n' "$name" "$*" | tee "$logs/$name.log"
  timeout --kill-after=10 "$most" "$@" >>"$logs/$name.log" 2>&1
  code=$?
  printf '%s\t%s\t%s\t%s\n' "$name" "$code" "$started" "$(date +%s.%N)" >>"$logs/steps.tsv"
  printf '%s ended with %s after %s s\n' "$name" "$code" "$((SECONDS - since))"
  [ "$name" = facts ] || tail -n 12 "$logs/$name.log"
  collect
}

collect() { # after each step: what is there is not lost when time runs out. Checkpoints stay behind
  (cd "$work" && find sweep-* best -name '*.csv' -o -name '*.log' -o -name result.json) 2>/dev/null |
    (cd "$work" && xargs -r cp --parents -t "$logs")
  "$python" scripts/gpu_results.py "$logs" "$folder" || true
  tar -czf "$folder/logs.tar.gz" -C "$work" logs
}

generated() { # images in CIFAR-10's format, where no real ones are named
  "$python" - "$work/data" <<'PYTHON'
import sys
from pathlib import Path
sys.path[:0] = ["scripts", "src"]
from benchmarks import training
Path(sys.argv[1]).mkdir()
training.write_batch_files(Path(sys.argv[1]), 45_000)
PYTHON
  export LIGHTSWEEP_DATA=$work/data
}

run_tests() {
  if [ "$tiny" ]; then
    step tests 120 env -u LIGHTSWEEP_DATA "$python" -m pytest -q -m gpu -p no:cacheprovider -n 0 --junitxml="$logs/tests.xml" \
      tests/gpu -k "on_the_device or range_test or bf16_is"
  else
    step tests 220 env -u LIGHTSWEEP_DATA "$python" -m pytest -q -m gpu -p no:cacheprovider -n 4 --dist worksteal \
      --tb=short --durations=10 --junitxml="$logs/tests.xml" tests/gpu
  fi
}

run_bench() {
  local size=(--device cuda --epochs 3 --repeats 3 --workers 8)
  [ "$tiny" ] && size=(--images 450 --epochs 1 --repeats 1 --workers 0 --threads 1)
  step bench 130 env -u LIGHTSWEEP_DATA "$python" scripts/benchmark.py train --bf16 "${size[@]}" --out "$logs/bench.json"
}

run_sweep() { # NAME OVERRIDE...
  local name=$1
  shift
  step "sweep-$name" 120 "$python" src/train.py sweep=mlp trainer=gpu logger=none hydra/sweeper/pruner=none \
    "${on[@]}" "$@" "hydra.sweep.dir=$work/sweep-$name"
}

run_sweeps() {
  if [ "$tiny" ]; then
    local size=(hydra.sweeper.n_trials=2 trainer.max_epochs=1 data.limit=200)
    run_sweep n_jobs-2 hydra.sweeper.n_jobs=2 "${size[@]}"
    run_sweep population-2 hydra.sweeper.population=2 "${size[@]}"
  else
    run_sweep n_jobs-8 hydra.sweeper.n_jobs=8 hydra.sweeper.n_trials=16 trainer.max_epochs=5
    run_sweep population-64 hydra.sweeper.population=64 hydra.sweeper.n_trials=100 hydra.sweeper.sampler=random
  fi
}

run_population() {
  local size=(--device cuda --space mlp --members 1,16,64 --jobs 8 --trials 64 --lightning-trials 8 --epochs 5 data=cifar10)
  [ "$tiny" ] && size=(--members 2 --jobs 0 --trials 2 --epochs 1 data=digits data.limit=200 threads=1)
  step population 150 "$python" scripts/benchmark.py population --repeats 1 --out "$logs/population.json" "${size[@]}"
}

run_best() {
  local size=(+trainer.max_time=00:00:02:00)
  [ "$tiny" ] && size=(trainer.max_epochs=2 data.limit=300 data.batch_size=64 "model.hidden=[16,16]" scheduler.warmup=0
    trainer.check_val_every_n_epoch=1)
  step best 200 "$python" src/train.py experiment=best_mlp_gpu "${on[@]}" "${size[@]}" "hydra.run.dir=$work/best"
}

step facts 60 bash -c 'nvidia-smi; nproc; free -g; git rev-parse HEAD; '"$python"' -m pip list' || true
for each in ${steps//,/ }; do
  case $each in
    tests) run_tests ;;
    bench) run_bench ;;
    sweep | population | best)
      [ -v LIGHTSWEEP_DATA ] || generated
      case $each in
        sweep) run_sweeps ;;
        population) run_population ;;
        best) run_best ;;
      esac
      ;;
    *) echo "unknown step $each" >&2; exit 2 ;;
  esac
done
cat "$folder/results.txt"
"$python" scripts/gpu_results.py --failed "$folder"
