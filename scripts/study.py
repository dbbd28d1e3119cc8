"""Print where a sweep's study is, for optuna-dashboard: python scripts/study.py [NAME] (default: the newest sweep)."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from lightsweep.app import entry
from lightsweep.runs import run_folder


def main() -> int:
    print(run_folder.find_journal(sys.argv[1] if len(sys.argv) > 1 else None))
    return 0


if __name__ == "__main__":
    entry.launch_command(main)
