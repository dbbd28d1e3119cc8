"""What can be seen to be wrong with a config before anything is built from it."""

from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig

from lightsweep import checkpoint_files, checks
from lightsweep.errors import ConfigError
from lightsweep.metrics import check_monitor

_NODES = (
    "monitor",
    "loss",
    "data",
    "model",
    "optimizer",
    "scheduler",
    "callbacks",
    "logger",
    "trainer",
    "lr_find_range",
)
_INSTEAD_OF_HIDDEN = ("model.width", "model.depth", "model.taper")


def check(cfg: DictConfig, overrides: list[str]) -> None:
    """Check the root's keys and the trainer's; what is built from the config checks its own.

    Args:
        overrides: what was typed, ``key=value`` each.

    Raises:
        ConfigError: names the key.
    """
    for key in _NODES:
        checks.require(isinstance(cfg[key], DictConfig), key, "have keys of its own", cfg[key])
    checks.whole("seed", cfg.seed, "[0, inf)")
    checks.choice("score_with", cfg.score_with, ("best", "last"))
    checks.flag("test", cfg.test)
    checks.flag("report", cfg.report)
    checks.flag("compile", cfg.compile)
    checks.flag("lr_find", cfg.lr_find)
    if cfg.init_from is not None:
        checkpoint_files.to_start_from(cfg.init_from)
    if cfg.threads is not None:
        checks.whole("threads", cfg.threads, "[1, inf)")
    checks.require(isinstance(cfg.data_dir, str) and cfg.data_dir != "", "data_dir", "be a path", cfg.data_dir)
    _check_monitors(cfg)
    _check_callbacks(cfg.callbacks)
    _check_trainer(cfg.trainer)
    _check_shape(cfg.model, overrides)


def _check_monitors(cfg: DictConfig) -> None:
    check_monitor("monitor", cfg.monitor.metric, cfg.monitor.mode)
    for group in ("callbacks", "logger"):
        for name, node in cfg[group].items():
            key = f"{group}.{name}"
            checks.require(isinstance(node, DictConfig), key, f"have keys of its own (~{key} removes it)", node)
    watching = {f"callbacks.{name}": node for name, node in cfg.callbacks.items()} | {"scheduler": cfg.scheduler}
    for key, node in watching.items():
        if "monitor" in node and "mode" in node:
            check_monitor(key, node.monitor, node.mode)


def _check_callbacks(nodes: DictConfig) -> None:
    for name, node in nodes.items():
        if "patience" in node:
            checks.whole(f"callbacks.{name}.patience", node.patience, "[1, inf)")
        if "min_delta" in node:
            checks.number(f"callbacks.{name}.min_delta", node.min_delta, "[0, inf)")


def _check_trainer(node: DictConfig) -> None:
    if node.max_epochs != -1:
        checks.whole("trainer.max_epochs", node.max_epochs, "[1, inf)")
    checks.whole("trainer.accumulate_grad_batches", node.accumulate_grad_batches, "[1, inf)")
    checks.whole("trainer.check_val_every_n_epoch", node.check_val_every_n_epoch, "[1, inf)")
    checks.require(
        node.deterministic in (True, False, "warn"),
        "trainer.deterministic",
        "be true, false or warn",
        node.deterministic,
    )
    if node.gradient_clip_val is not None:
        checks.number("trainer.gradient_clip_val", node.gradient_clip_val, "[0, inf)")
    for name in ("limit_train_batches", "limit_val_batches"):
        _check_limit(f"trainer.{name}", node[name])
    if node.get("fast_dev_run"):  # it would score weights that were never saved
        raise ConfigError("trainer.fast_dev_run must be left out; trainer=debug is for a quick look")


def _check_limit(key: str, limit: float | None) -> None:
    if isinstance(limit, float):
        checks.number(key, limit, "(0, 1]")
    elif limit is not None:
        checks.whole(key, limit, "[1, inf)")


def _check_shape(model: DictConfig, overrides: list[str]) -> None:
    """A list of widths replaces three other keys: setting one of those beside it would do nothing, silently."""
    if model.get("hidden") is None:
        return
    for override in overrides:
        key = override.partition("=")[0].lstrip("+~")
        keys = [f"model.{name}" for name in _keys(override)] if key == "model" and "{" in override else [key]
        for beside in keys:
            if beside in _INSTEAD_OF_HIDDEN:
                raise ConfigError(
                    f"{beside} must not be set beside model.hidden, which replaces it"
                    f" (model.hidden=null makes room for it), got {override}"
                )


def _keys(override: str) -> list[str]:
    """The keys of ``model={width:16}``."""
    value = OverridesParser.create().parse_override(override).value()
    return list(value) if isinstance(value, dict) else []
