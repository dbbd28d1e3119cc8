"""An app without torch: a Hydra function whose value is to be minimized."""

import math
import time
from dataclasses import dataclass

import hydra
from hydra.core.config_store import ConfigStore


@dataclass
class Config:
    lr: float = 1.0
    width: int = 64
    kind: str = "smooth"
    seconds: float = 0.0


ConfigStore.instance().store(name="config", node=Config)


@hydra.main(version_base=None, config_path=None, config_name="config")
def main(cfg: Config) -> float:
    if cfg.kind == "broken":
        raise RuntimeError("this kind does not work")
    time.sleep(cfg.seconds)
    return (math.log10(cfg.lr) + 2.5) ** 2 + abs(cfg.width - 128) / 128


if __name__ == "__main__":
    main()
