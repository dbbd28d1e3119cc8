#!/usr/bin/env bash
# One study on many nodes of a Slurm cluster: a job array whose tasks all run the same sweep, each taking trials from the
# same study until the total is reached.
#
#   export LIGHTSWEEP_STORAGE=postgresql://user:password@host/db
#   mkdir -p outputs; sbatch --array=1-8 scripts/slurm_sweep.sh sweep=mlp hydra.sweeper.n_trials=200
#
# The variable names a database that all nodes reach; the arguments go to src/train.py. (An address as the first
# argument works too, and shows its password to everybody who lists the jobs.) A task that is killed or runs out of time
# loses nothing: another task retries its trial, 60 seconds later. The outputs folder must be on a file system that the
# nodes share.
#SBATCH --job-name=lightsweep
#SBATCH --nodes=1
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=4
#SBATCH --gpus-per-task=1
#SBATCH --time=04:00:00
#SBATCH --signal=B:TERM@60
#SBATCH --output=outputs/slurm-%A_%a.log
set -euo pipefail

if [[ ${1:-} == *://* ]]; then
    export LIGHTSWEEP_STORAGE=$1
    shift
fi
: "${LIGHTSWEEP_STORAGE:?must be the address of a database, postgresql://host/db}"
cd "${SLURM_SUBMIT_DIR:-$(dirname "${BASH_SOURCE[0]}")/..}"
# exec: the signal that Slurm sends a minute before the end reaches the sweeper, which ends in order.
exec .venv/bin/python src/train.py hydra.sweeper.n_jobs=1 "$@"
