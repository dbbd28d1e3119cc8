"""Some points are too large, which is known before; some turn out to cost too much; some take too long."""

import time

import hydra
from omegaconf import DictConfig


def count(cfg: DictConfig) -> int:
    return cfg.width * 10


@hydra.main(version_base=None, config_path=".", config_name="config")
def main(cfg: DictConfig) -> dict[str, float]:
    time.sleep(60.0 if cfg.kind == "endless" else 0.05)
    cost = 10.0 if cfg.kind == "costly" else 1.0
    return {"score": cost + cfg.x - cfg.width / 100, "size": count(cfg), "cost": cost}


if __name__ == "__main__":
    main()
