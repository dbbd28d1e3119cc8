#!/usr/bin/env bash
# scripts/services.sh VENV: what the tests of schedulers, databases and browsers need in addition to Python's development
# packages: Debian's packages (as root; else it says which are missing) and the extras of this project.
set -euo pipefail
venv=$1

declare -A provides=(
    [slurmctld]=slurm-wlm [slurmd]=slurm-wlm [sbatch]=slurm-wlm [munged]=munge
    [initdb]=postgresql [mariadbd]=mariadb-server [chromium]=chromium
)
declare -A missing=()
for program in "${!provides[@]}"; do
    PATH=$PATH:/usr/sbin command -v "$program" >/dev/null && continue
    compgen -G "/usr/lib/postgresql/*/bin/$program" >/dev/null && continue
    missing[${provides[$program]}]=1
done
if ((${#missing[@]})); then
    if [[ $(id -u) != 0 ]] || ! command -v apt-get >/dev/null; then
        echo "install first: ${!missing[*]} (Debian's names of packages)" >&2
        exit 1
    fi
    # Nothing that is installed here is started: tests start what they need, on loopback.
    if [[ ! -e /usr/sbin/policy-rc.d ]]; then
        printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
        chmod +x /usr/sbin/policy-rc.d
        trap 'rm -f /usr/sbin/policy-rc.d' EXIT
    fi
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${!missing[@]}" >/dev/null
fi

uv=$(command -v uv || echo "$venv/bin/uv")
"$uv" pip install --quiet --compile-bytecode --python "$venv/bin/python" --editable '.[dev,services]'
