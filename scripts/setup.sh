#!/usr/bin/env bash
# scripts/setup.sh FOLDER: a virtual environment in FOLDER with this project, editable, and its development tools.
# Uses the uv on the PATH, else one that pip puts into FOLDER. $PYTHON names the Python to use.
set -euo pipefail
venv=$1

usable() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }

find_python() {
    for name in python3 python3.13 python3.12 python3.11 python; do
        usable "$name" && echo "$name" && return
    done
    echo "lightsweep needs Python 3.11 or newer and found none: install one or uv, or name it: PYTHON=/path/to/python3" >&2
    return 1
}

if [[ -n ${PYTHON:-} ]] && ! usable "$PYTHON"; then
    echo "PYTHON must be a Python 3.11 or newer, got $PYTHON ($("$PYTHON" --version 2>&1 | tail -n 1))" >&2
    exit 1
fi
usable "$venv/bin/python" || rm -rf "$venv" # it is too old, or its Python is gone

if uv=$(command -v uv); then
    # Where there is no fitting Python, uv fetches one.
    [[ -d $venv ]] || "$uv" venv --quiet --no-project --seed --python "${PYTHON:->=3.11}" "$venv"
elif uv=$venv/bin/uv && [[ ! -x $uv ]]; then
    python=${PYTHON:-$(find_python)}
    "$python" -m venv "$venv" || {
        echo "$python cannot make a virtual environment: install its venv module (Debian: python3-venv), or uv" >&2
        exit 1
    }
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check uv
fi
# Compiled here, and not by the first command: where Python may not write, every start would take seconds longer.
"$uv" pip install --quiet --compile-bytecode --python "$venv/bin/python" --editable '.[dev]'
