"""What the sweeper knows of training runs: `TRAINING`. Slow imports are inside the functions that need them."""

import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.errors import HydraException, MissingConfigException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from lightsweep.app import jobs
from lightsweep.config import allowlist, build
from lightsweep.core.errors import ConfigError
from lightsweep.core.metrics import FINAL, compared_names, find_metric
from lightsweep.core.overrides import decode_choice, format_override, is_below
from lightsweep.runs.results import TRIAL_FACTS
from lightsweep.runs.saved_config import own_config
from lightsweep.sweeper.application import Application

if TYPE_CHECKING:
    from lightsweep.sweeper.plan import Plan
    from lightsweep.sweeper.space import Space

_TARGET = "_target_"
_DRAWN = 32  # trials whose networks are compared with init_from
_OUR_NETS = "lightsweep.nets."
_IMAGE_SHAPE = ("data.image_size", "data.grayscale", "data.shape")
_SPLIT, _OLD_SPLITS = "data.split", ("first", "random", "stratified")
_LISTS = ("Sequence", "list", "List", "tuple", "Tuple", "Iterable", "Collection", "Any")

# What must be the same in all trials of a study: their values are compared with each other.
_MEASURED = ("monitor", "test", "lr_find")  # what a trial's value measures
_IMAGES = (  # which images it is measured on
    *("data_dir", "data._target_", "data.data_dir", "data.root", "data.val_fraction", "data.test_fraction"),
    *("data.split", "data.split_seed", "data.limit", "data.on_bad_file", "data.classes", "data.shape"),
    *("data.train_images", "data.test_images", "data.data_seed", "trainer.limit_val_batches"),
)
_TRAINING_IMAGES = "data.max_per_class"  # which images are trained on; it may be searched
_OBJECTIVE = "val/objective"
_IN_OBJECTIVE = ("loss", "data.class_weights")  # what it adds to the cross-entropy, or weighs it by


class Training(Application):
    """Training runs of this program, src/train.py."""

    program = "python src/train.py"
    columns = (*compared_names("val"), *compared_names("train"), "best_epoch", "epochs", "params", "seconds")
    scores = tuple(
        f"{part}/{metric.name}"
        for metric in sorted(FINAL, key=lambda metric: not metric.is_share)  # accuracies first
        for part in ("val", "test")
    )

    result_file = "result.json"
    records = ("metrics.csv", "data.json")
    data_file = "data.json"
    copies_jobs = True

    def report_command(self, folder: Path, storage: str | None) -> str:
        where = f" --storage {shlex.quote(storage)}" if storage else ""
        page = shlex.quote(str(folder / "report.html"))
        return f"python src/report.py {shlex.quote(str(folder))} --html {page}{where}"

    def objective(self, config: DictConfig) -> tuple[str, str]:
        return str(config.monitor.metric), "maximize" if config.monitor.mode == "max" else "minimize"

    def foresee(self, name: str) -> Callable[[DictConfig], float] | None:
        return _count_parameters if name == "params" else None

    def measures(self, config: DictConfig) -> Mapping[str, str | None]:
        """The monitored metric, and what a trial's result has without test images."""
        measured = [name for name in TRIAL_FACTS if not name.startswith("test/")]
        known = {name: find_metric(name) for name in dict.fromkeys([str(config.monitor.metric), *measured])}
        return {name: None if metric is None else f"{metric.mode}imize" for name, metric in known.items()}

    def build(self, node: DictConfig, key: str) -> Any:
        return build.build(node, key)

    def find_function(self, name: str, key: str) -> Any:
        try:
            return instantiate(
                {"_target_": name, "_partial_": True},
                _execution_whitelist_=[*allowlist.TRUSTED, *allowlist.BATCH_FUNCTIONS],
            )
        except HydraException as error:
            raise build.config_error(error, key) from error

    def takes_list(self, config: Mapping[str, Any], key: str) -> bool:
        """Whether the class that gets the value declares that it takes a list, or declares nothing."""
        node: Any = OmegaConf.select(OmegaConf.create(dict(config)), key.rpartition(".")[0] or key)
        target, name = (node.get("_target_") if isinstance(node, DictConfig) else None), key.rpartition(".")[2]
        if not isinstance(target, str):
            return False
        parameters = build.find_parameters(target)
        if parameters is None or name not in parameters:
            return True
        annotation = parameters[name].annotation
        return annotation is parameters[name].empty or any(word in str(annotation) for word in _LISTS)

    def check_space(self, space: "Space", metric: str) -> None:
        """Refuse a space in which trials would be judged by different measures, or on different images."""
        keys = _searched(space)
        for key in keys:
            if is_below(key, _MEASURED):
                raise ConfigError(f"{key} must not be searched: the values of trials would mean different things")
            if key == "data" or is_below(key, _IMAGES):
                raise ConfigError(f"{key} must not be searched: trials would be validated on different images")
            if metric == _OBJECTIVE and is_below(key, _IN_OBJECTIVE):
                raise ConfigError(f"{key} must not be searched with monitor.metric={metric}, which it is a part of")

    def check_config(self, config: DictConfig, overrides: Sequence[str], *, in_this_process: bool) -> None:
        from lightsweep.app import validation

        validation.check_config(config, list(overrides))
        _check_one_process(config, in_this_process)

    def check_drawn(self, config: DictConfig, overrides: Sequence[str]) -> None:
        from lightsweep.app import validation

        build.check_arguments(config)
        validation.check_shape(config.model, overrides)

    def check_plan(self, plan: "Plan", *, in_this_process: bool) -> None:
        _check_trainers(plan, in_this_process)
        _check_shapes(plan.space)
        _check_start(plan)

    def places(self, plan: "Plan") -> int:
        from lightsweep.app.together import choose_places

        return choose_places(plan)

    def check_population(self, plan: "Plan") -> None:
        from lightsweep.app.together import check_population

        check_population(plan)

    def kept_overrides(
        self, started_with: Mapping[str, Any], config: DictConfig, typed: Sequence[str]
    ) -> tuple[str, ...]:
        """A study that was started before image folders were split by file keeps its split."""
        from lightsweep.data.folders import BY_FILE

        before = started_with.get(_SPLIT)
        is_typed = any(line.partition("=")[0].lstrip("+") == _SPLIT for line in typed)
        if is_typed or before not in _OLD_SPLITS or OmegaConf.select(config, _SPLIT) != BY_FILE:
            return ()
        return (f"{_SPLIT}={before}",)

    def own_config(self, config: DictConfig) -> DictConfig:
        return own_config(config)

    def later_keys(self, config: Mapping[str, Any]) -> Mapping[str, Any]:
        """The arguments of lightsweep's classes as they are by default: an addition leaves results as they were."""
        nodes = {key.removesuffix(_TARGET): str(value) for key, value in config.items() if key.endswith(_TARGET)}
        return {
            f"{node}{name}": value
            for node, target in nodes.items()
            if target.startswith("lightsweep.")
            for name, value in build.default_arguments().get(target, {}).items()
            if not isinstance(value, Mapping)
        }

    def reads_same_data(self, space: "Space", config: DictConfig) -> bool:
        """Whether all trials are trained on the same images. In a user data module they may depend on any argument: on
        the batch size, if its loader drops the last batch."""
        is_users = not str(config.data.get("_target_")).startswith("lightsweep.")
        return not any(key == _TRAINING_IMAGES or (is_users and is_below(key, ("data",))) for key in _searched(space))

    def same_data(self, one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
        return all(one[key] == other[key] for key in one.keys() & other.keys() if is_below(key, _IMAGES))

    def allows_changed_data(self, config: DictConfig) -> bool:
        return bool(config.allow_changed_data)

    def data_digest(self, folder: Path) -> str | None:
        from lightsweep.runs import data_record

        found = data_record.read_if_valid(folder)
        return found.digest if found else None


TRAINING = Training()


def _count_parameters(config: DictConfig) -> int:
    from lightsweep.app.foreseen import count_trainable  # imports torch

    return count_trainable(config)


def _check_trainers(plan: "Plan", in_this_process: bool) -> None:
    """Every trial trains in one process, whatever is drawn for it: a config group can bring another trainer."""
    from lightsweep.sweeper.space import ends

    groups = plan.config.hydra.runtime.choices
    for parameter in plan.space.parameters:
        key = parameter.key.lstrip("+")
        if key not in groups and not key.startswith("trainer."):
            continue
        under = plan.space.fixed if parameter.condition is None else (*plan.space.fixed, parameter.condition)
        for value in ends(parameter.distribution):
            try:
                config = plan.compose((*under, format_override(parameter.key, value)))
            except MissingConfigException:  # there is no such choice
                raise
            except (HydraException, ConfigError):  # a choice that does not go with what is fixed costs its own trials
                continue
            _check_one_process(config, in_this_process)


def _check_shapes(space: "Space") -> None:
    """Refuse a key of the network that is searched beside a choice of another one which excludes it."""
    from lightsweep.app import validation
    from lightsweep.sweeper.space import applies, ends

    for hidden in [each for each in space.parameters if each.key.lstrip("+") == "model.hidden"]:
        for choice in ends(hidden.distribution):
            beside = [each for each in space.parameters if each is not hidden and applies(each, {hidden.key: choice})]
            drawn = [format_override(each.key, ends(each.distribution)[0]) for each in beside]
            validation.check_shape(OmegaConf.create({"hidden": decode_choice(choice)}), [*space.fixed, *drawn])


def _check_one_process(config: DictConfig, in_this_process: bool) -> None:
    jobs.check_one_process(config.trainer, lambda: _gpus_of_job(in_this_process))


def _gpus_of_job(in_this_process: bool) -> int:
    """How many a job can see. A worker is given one; what a cluster's job has is known only there."""
    return jobs.count_gpus() if in_this_process else 1


def _check_start(plan: "Plan") -> None:
    """See that some trial could start from `init_from`, on torch's meta device; else each would fail on its own.

    What depends on more is left to the trials: images of a searched size, a user's own network.

    Raises:
        ConfigError: no file of weights can be read, or none of these networks has a weight like one of them.
    """
    baseline, keys = plan.compose(plan.space.fixed), set(_searched(plan.space))
    if baseline.init_from is None and "init_from" not in keys:
        return
    from lightsweep.app.foreseen import data_traits

    traits = None if keys & set(_IMAGE_SHAPE) else data_traits(baseline)
    refusal: ConfigError | None = None
    for config in _drawn(plan):
        try:
            if config.init_from is None or _fits(config, traits):
                return
        except ConfigError as error:  # of this one: another may start from another file
            refusal = refusal or error
    raise refusal or ConfigError(
        f"init_from: no weight in {baseline.init_from} has the name and the shape of one of a network of this search"
        f" space ({_DRAWN} were drawn)"
    )


def _drawn(plan: "Plan") -> Iterator[DictConfig]:
    import optuna

    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    space = replace(plan.space, extend=None)  # the user's own function is for real trials
    for _ in range(_DRAWN):
        yield plan.compose((*space.fixed, *space.suggest(study.ask())))


def _fits(config: DictConfig, traits: Any) -> bool:
    """Whether this trial can start from its weights, or nobody can say."""
    import torch  # only here: a sweeper needs it for nothing else

    from lightsweep.nets import build_network
    from lightsweep.training import checkpoints

    saved = checkpoints.read_weights(config.init_from)
    model: Any = OmegaConf.to_container(config.model, resolve=True)
    if traits is None or not str(model.get("_target_")).startswith(_OUR_NETS):
        return True
    with torch.device("meta"):
        net = build_network(model, traits.input_shape, len(traits.class_names))
    return bool(checkpoints.fitting_weights(saved, net))


def _searched(space: "Space") -> list[str]:
    return list(dict.fromkeys(parameter.key.lstrip("+") for parameter in space.parameters))
