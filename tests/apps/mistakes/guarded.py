"""What workers need is registered for the script alone."""

from dataclasses import dataclass

import hydra
from hydra.core.config_store import ConfigStore
from omegaconf import OmegaConf


@dataclass
class Config:
    x: float = 1.0


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def main(cfg):
    return cfg.get("y", cfg.x)


if __name__ == "__main__":
    OmegaConf.register_new_resolver("twice", lambda value: 2 * value)
    ConfigStore.instance().store(name="stored", node=Config)
    main()
