"""``python -m lightsweep`` is the command ``lightsweep``."""

from lightsweep.app.cli import main

if __name__ == "__main__":
    main()
