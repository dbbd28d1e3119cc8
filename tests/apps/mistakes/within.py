"""The function is defined within another one."""

import hydra


def start():
    @hydra.main(version_base="1.3", config_path="conf", config_name="config")
    def main(cfg):
        return cfg.x

    main()


if __name__ == "__main__":
    start()
