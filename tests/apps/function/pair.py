"""The same app with two values: an error that is to be minimized, and a gain that is to be maximized."""

import math

import hydra

from app import Config


@hydra.main(version_base=None, config_path=None, config_name="config")
def main(cfg: Config) -> tuple[float, float]:
    return (math.log10(cfg.lr) + 2.5) ** 2, math.sqrt(cfg.width)


if __name__ == "__main__":
    main()
