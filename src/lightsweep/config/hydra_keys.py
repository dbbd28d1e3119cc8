"""What a config file, perhaps of another user, may set of Hydra: folders, names, the launcher and the sweeper.

Values are checked as they are written. An interpolation can have one value now and another later, so that in these keys
only a few are allowed, whose values are known or harmless. Typed values are not checked.
"""

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from hydra.types import RunMode

from lightsweep.config import allowlist, permissions
from lightsweep.config.permissions import Typed, find_value, walk
from lightsweep.core.errors import ConfigError
from lightsweep.core.files import OUTPUTS, is_inside
from lightsweep.core.secrets import INTERPOLATION as STORAGE

_RUN = "/the run's folder"  # a stand-in: the folder is known only when the job starts
_SWEEP = "/the sweep's folder"
# The interpolations of our own conf/ and of Hydra's and the launchers' defaults, and a stand-in for each.
_KNOWN = (
    (re.compile(r"\$\{lightsweep\.root:outputs\}"), str(OUTPUTS)),
    (re.compile(r"\$\{now:(%Y-%m-%d|%H-%M-%S|%Y-%m-%d_%H-%M-%S)\}"), "time"),
    (re.compile(r"\$\{lightsweep\.run_id:\}"), "id"),
    (re.compile(r"\$\{lightsweep\.folder_name:\$\{name\},\$\{hydra\.overrides\.task\}\}"), "-name"),
    (re.compile(r"\$\{hydra\.job\.(num|id)\}"), "0"),  # which only Hydra sets
    (re.compile(r"\$\{hydra\.runtime\.output_dir\}"), _RUN),
    (re.compile(r"\$\{hydra\.sweep\.dir\}"), _SWEEP),
)
# What only Hydra sets; all of a node where there are no names.
_OF_HYDRA: Mapping[str, tuple[str, ...] | None] = {
    "overrides": None,
    "runtime": None,
    "job": ("id", "num", "config_name"),
}
_NAMES = ("hydra.job.name", "hydra.sweeper.study_name")  # plain words in a config file
_UNIQUE = re.compile(r"\$\{now:[^}]*%S\}|\$\{lightsweep\.run_id:\}")
_NAME = re.compile(r"[\w.,+=@-]+")
_MAPPINGS = ("job", "run", "sweep", "job_logging", "hydra_logging", "launcher", "sweeper", "callbacks", "runtime")
_PRELOADED = ("pytorch_lightning",)
# Of a cluster's launcher: amounts, and words without spaces, quotes and line ends. All else could be a command.
_AMOUNTS = (
    *("timeout_min", "cpus_per_task", "gpus_per_node", "tasks_per_node", "mem_gb", "nodes", "cpus_per_gpu"),
    *("gpus_per_task", "signal_delay_s", "max_num_timeout", "array_parallelism", "stderr_to_stdout", "use_srun"),
    *("n_jobs", "inner_max_num_threads", "verbose", "timeout"),  # joblib's
)
_WORDS = (
    *("name", "partition", "qos", "constraint", "exclude", "gres", "mem_per_gpu", "mem_per_cpu", "account", "comment"),
    *("backend", "prefer", "require", "batch_size", "max_nbytes", "mmap_mode"),  # joblib's
)
_WORD = re.compile(r"[\w.,:@+/%=\[\]&|*-]*")
_PRE_DISPATCH = ("2*n_jobs", "2 * n_jobs", "n_jobs", "all")
_RAY: tuple[Any, ...] = ({"init": {"address": None}, "remote": {}}, {"init": {}, "remote": {}})  # the plugin's default


def check_hydra_keys(config: Mapping[str, Any], typed: Typed) -> None:
    """See that no key below ``hydra`` does what only the command line may ask for.

    Args:
        config: as Hydra composed it, in plain dicts with its interpolations.
        typed: the typed values that this config has.

    Raises:
        ConfigError: names the key.
    """
    hydra = config["hydra"]
    for name in _MAPPINGS:
        if not isinstance(hydra.get(name), Mapping | None):
            raise ConfigError(f"hydra.{name} must be a mapping, got {hydra[name]!r}")
    if hydra["job"].get("env_set"):  # PATH, LD_PRELOAD and others choose what code runs
        raise ConfigError("hydra.job.env_set and env_copy must be empty: set environment variables in the shell")
    checks = _Checks(config, typed)
    checks.check_names()
    checks.check_folders()
    checks.check_launcher()
    checks.check_sweeper()


def is_in_run_folder(hydra: Mapping[str, Any], key: str, raw: Any) -> bool:
    """Does the path of a key lie below the run's folder?"""
    return _stays_inside(_text(hydra, key, raw), _RUN)


def _check_trusted(key: str, function: Any) -> None:
    if not (isinstance(function, str) and allowlist.is_trusted(function)):
        raise ConfigError(f"{key} must be a function that LIGHTSWEEP_TRUST names, got {function!r}")


def _text(hydra: Mapping[str, Any], key: str, raw: Any) -> str:
    """The text of a key with stand-ins for its interpolations, `_RUN` and `_SWEEP` for folders.

    Raises:
        ConfigError: it is not a text, or has an interpolation whose value may change.
    """
    if not isinstance(raw, str):
        raise ConfigError(f"{key} must be a text, got {raw!r}")
    text = raw
    for pattern, value in _KNOWN:
        text = pattern.sub(value.replace("\\", r"\\"), text)
    for name in _NAMES:
        text = text.replace(f"${{{name}}}", str(_at(hydra, name)))
    if "\0" in text:
        raise ConfigError(f"{key} must not hold a NUL, got {raw!r}")
    if "${" in text:
        raise ConfigError(f"{key} must be typed, or hold interpolations as conf/train.yaml has them, got {raw!r}")
    return text


class _Checks:
    """The checks of one composed config."""

    def __init__(self, config: Mapping[str, Any], typed: Typed) -> None:
        self.hydra, self.typed = config["hydra"], typed

    def untyped(self, key: str) -> Any:
        """The value of a key, if it was not typed."""
        return None if self.typed.covers(key) else _at(self.hydra, key)

    def check_names(self) -> None:
        """Names that become parts of paths must be plain words."""
        for key in _NAMES:
            name = self.untyped(key)
            if name not in (None, "???") and not (_NAME.fullmatch(str(name)) and str(name).strip(".")):
                raise ConfigError(f"{key} must be a name of letters, digits and . _ - unless it is typed, got {name!r}")

    def check_folders(self) -> None:
        for key in ("hydra.run.dir", "hydra.sweep.dir"):
            if (raw := self.untyped(key)) is None:
                continue
            folder = _text(self.hydra, key, raw)
            if "://" in folder or not is_inside(Path(folder), OUTPUTS):
                raise ConfigError(f"{key} must lie in {OUTPUTS} unless it is typed, got {raw!r}")
            single = key == "hydra.run.dir" and self.hydra.get("mode") != RunMode.MULTIRUN
            if single and _UNIQUE.search(raw) is None and Path(folder).is_dir() and any(Path(folder).iterdir()):
                raise ConfigError(f"{key} must be a new or an empty folder unless it is typed, got {folder!r}")
        for key in ("hydra.sweep.subdir", "hydra.output_subdir"):
            raw = self.untyped(key)
            if raw is not None and not _stays_inside(_text(self.hydra, key, raw)):
                raise ConfigError(f"{key} must lie in the folder above it unless it is typed, got {raw!r}")

    def check_launcher(self) -> None:
        for name, value in (self.hydra.get("launcher") or {}).items():
            key = f"hydra.launcher.{name}"
            if name == "_target_" or self._is_typed_or_empty(key, value):
                continue
            if name == "submitit_folder":
                if not _stays_inside(_text(self.hydra, key, value), _SWEEP):
                    raise ConfigError(f"{key} must lie in hydra.sweep.dir unless it is typed, got {value!r}")
            elif not self._is_harmless(key, name, value):
                raise ConfigError(f"{key} must be typed on the command line, since it can run commands, got {value!r}")

    def _is_typed_or_empty(self, key: str, value: Any) -> bool:
        if value in (None, {}, []) or self.typed.covers(key):
            return True
        return isinstance(value, Mapping) and all(
            self._is_typed_or_empty(f"{key}.{name}", item) for name, item in value.items()
        )

    def _is_harmless(self, key: str, name: str, value: Any) -> bool:
        if name in _AMOUNTS:
            return isinstance(value, bool | int | float)
        if name == "ray":
            return value in _RAY
        if name == "pre_dispatch":  # joblib computes it
            return value in _PRE_DISPATCH
        return name in _WORDS and (isinstance(value, int) or _WORD.fullmatch(_text(self.hydra, key, value)) is not None)

    def check_sweeper(self) -> None:
        node = self.hydra.get("sweeper") or {}
        for key in ("params", "when", "ablation"):
            if isinstance(node.get(key), str):  # an interpolation
                raise ConfigError(f"hydra.sweeper.{key} must be a mapping, got {node[key]!r}")
        for name, key in _keys_of_jobs(node):
            if _is_of_hydra(key):
                raise ConfigError(f"hydra.sweeper.{name} must name keys of the run, not of Hydra, got {key!r}")
        self._check_overrides()
        self._check_storage(node)
        self._check_preload()
        named = {name: node.get(name) for name in ("custom_search_space", "validate")}
        foreseen = node.get("foresee") or {}
        if not isinstance(foreseen, dict):  # an interpolation
            raise ConfigError(f"hydra.sweeper.foresee must be a mapping, got {foreseen!r}")
        for name, function in (named | {f"foresee.{key}": each for key, each in foreseen.items()}).items():
            if function is not None:
                _check_trusted(f"hydra.sweeper.{name}", function)
        if (function := node.get("batch_function")) not in (None, *allowlist.BATCH_FUNCTIONS):
            _check_trusted("hydra.sweeper.batch_function", function)

    def _check_overrides(self) -> None:
        """What is added to the overrides of each job: as they are written, for keys of the run."""
        for name in ("trial_overrides", "confirm_overrides", "seed_key", "ablation.from", "ablation.to"):
            value = self.untyped(f"hydra.sweeper.{name}")
            is_trial = name.startswith("ablation.") and type(value) is int
            for line in value if isinstance(value, list) else [] if value is None or is_trial else [value]:
                if not isinstance(line, str) or "${" in line or _is_of_hydra(line):
                    raise ConfigError(
                        f"hydra.sweeper.{name} must be typed, or name keys of the run, not of Hydra, without"
                        f" interpolations, got {line!r}"
                    )

    def _check_storage(self, node: Mapping[str, Any]) -> None:
        storage, sampler = node.get("storage"), node.get("sampler")
        if self.untyped("hydra.sweeper.storage") not in (None, STORAGE):
            raise ConfigError("hydra.sweeper.storage must be typed, or be given by LIGHTSWEEP_STORAGE")
        for where in self.untyped("hydra.sweeper.warm_start") or ():  # it would say whom we connect to
            if "://" in str(where) or "$" in str(where):
                raise ConfigError(f"hydra.sweeper.warm_start must be typed, or name folders and files, got {where!r}")
        if not str(node.get("_target_")).endswith(".OptunaSweeper"):
            return
        if storage == STORAGE:
            raise ConfigError(
                "hydra.sweeper.storage: hydra/sweeper=optuna would write a server's address into its records; take"
                " hydra/sweeper=lightsweep"
            )
        if isinstance(sampler, str) or any(isinstance(value, str) and "${" in value for _, value in walk(sampler)):
            raise ConfigError("hydra.sweeper.sampler must be plain values for hydra/sweeper=optuna")
        targets = permissions.find_targets(sampler)
        if storage is not None and any(str(name).endswith("CmaEsSampler") for name in targets):
            raise ConfigError(
                "hydra/sweeper/sampler=cmaes keeps pickles in a study, which hydra/sweeper=optuna would run:"
                " leave hydra.sweeper.storage out, or take hydra/sweeper=lightsweep"
            )

    def _check_preload(self) -> None:
        modules = self.untyped("hydra.sweeper.preload") or []
        for module in modules if isinstance(modules, list) else [modules]:
            if module not in _PRELOADED and not (isinstance(module, str) and allowlist.is_trusted(module)):
                raise ConfigError(
                    f"hydra.sweeper.preload must be typed, or hold modules that LIGHTSWEEP_TRUST names, got {module!r}"
                )


def check_hydra_of_files(config: Mapping[str, Any]) -> None:
    """See that config files set nothing that Hydra itself sets: later code trusts it.

    Args:
        config: composed from the files alone, in plain dicts.

    Raises:
        ConfigError: names the key.
    """
    hydra = config.get("hydra")
    for node_name, names in _OF_HYDRA.items():
        node = find_value(hydra, [node_name])
        for name, value in node.items() if isinstance(node, Mapping) else ():
            if (names is None or name in names) and value not in (None, "???", [], {}):
                raise ConfigError(f"hydra.{node_name}.{name} must be left out, Hydra sets it, got {value!r}")
    # between the overrides in the name of a job's folder
    separators = find_value(config, ("hydra", "job", "config", "override_dirname"))
    for name, value in separators.items() if isinstance(separators, Mapping) else ():
        if isinstance(value, str) and re.fullmatch(r"[=,;:_+-]*", value) is None:
            raise ConfigError(f"hydra.job.config.override_dirname.{name} must be one of = , ; : _ + -, got {value!r}")


def check_search_path(entries: Any, typed: Typed) -> None:
    """See that Hydra's search path names folders or trusted packages: Hydra imports them before it composes.

    Args:
        entries: as they are written.

    Raises:
        ConfigError: it names another package, or another kind of source.
    """
    if entries in typed.values.get("hydra.searchpath", ()) or entries is None:
        return
    for entry in entries if isinstance(entries, list) else [entries]:
        if "${" in str(entry):
            raise ConfigError(f"hydra.searchpath must hold no interpolation, got {entry!r}")
        scheme, separator, rest = str(entry).partition("://")
        package = rest.replace("/", ".").strip(".")
        if separator and scheme != "file" and not (scheme == "pkg" and allowlist.is_trusted(package)):
            raise ConfigError(
                f"hydra.searchpath must hold folders, or packages that LIGHTSWEEP_TRUST names, got {entry!r}"
            )


def _at(hydra: Mapping[str, Any], key: str) -> Any:
    """The value of ``hydra.a.b`` as it is written; None where there is none."""
    return find_value(hydra, key.split(".")[1:])


def _stays_inside(path: str, folder: str = "") -> bool:
    """Whether a relative path stays below its start, or a path that begins with `folder` below that."""
    inside = os.path.normpath(path)
    if folder:
        return inside.startswith(folder + os.sep)
    return not (Path(inside).is_absolute() or inside == ".." or inside.startswith(".." + os.sep))


def _keys_of_jobs(sweeper: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The keys that the search space overrides in its jobs, each with the setting that it is in."""
    params, when = sweeper.get("params"), sweeper.get("when")
    yield from (("params", str(key)) for key in (params if isinstance(params, Mapping) else ()))
    for condition, further in when.items() if isinstance(when, Mapping) else ():
        yield "when", str(condition)
        if isinstance(further, Mapping):
            yield from (("when", str(key)) for key in further)


def _is_of_hydra(override: str) -> bool:
    """Whether a key or an override is of Hydra's own node, or puts a config group into it. Hydra passes over blanks."""
    key, _, package = re.sub(r"\s", "", override).partition("=")[0].lstrip("+~").partition("@")
    return key.startswith("hydra") or "hydra" in package
