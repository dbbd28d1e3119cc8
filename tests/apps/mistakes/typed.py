"""A typed config, a decorator of the app's own, a callback with a lock, a slow function that changes the directory."""

import os
import threading
import time
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import hydra
from hydra.core.config_store import ConfigStore
from hydra.experimental.callback import Callback


class Color(Enum):
    RED = 1
    BLUE = 2


@dataclass
class Config:
    x: float = 1.0
    n: int = 2
    color: Color = Color.RED
    seconds: float = 0.0


class Locked(Callback):
    def __init__(self):
        self.lock = threading.Lock()


def doubled(function):
    def around(cfg):
        return 2 * function(cfg)

    return around


ConfigStore.instance().store(name="config", node=Config)


@hydra.main(version_base="1.3", config_path=None, config_name="config")
@doubled
def main(cfg):
    print("started in", Path.cwd())
    os.chdir("/")
    time.sleep(cfg.seconds)
    return cfg.x + cfg.n


if __name__ == "__main__":
    main()
