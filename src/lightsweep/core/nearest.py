"""The keys that a mistyped one may have meant."""

from collections.abc import Collection
from difflib import SequenceMatcher

_LIKE = 0.7  # of two names that may be one; "epochs" and "max_epochs" are 0.75, "lr" and "lrr" 0.8
_CLOSE = 0.1  # below the best one, what is named beside it
_MOST = 3
# Names of the same things in other programs that are spelled too differently.
_ELSEWHERE = {
    "learningrate": "lr",
    "wd": "weight_decay",
    "bs": "batch_size",
    "epoch": "max_epochs",
    "gpus": "devices",
    "trials": "n_trials",
    "workers": "n_jobs",
    "searchspace": "params",
}


def nearest(key: str, keys: Collection[str]) -> list[str]:
    """The keys that end in the same name, else those that are spelled alike; the likeliest first, at most three."""
    typed = _plain(key)
    plain = {each: _plain(each) for each in keys if each != key}
    others = {each: name for each, name in plain.items() if not typed.startswith(f"{name}.")}  # not a node above it
    last = _last(typed)
    same = [each for each, name in others.items() if _last(name) in (last, _ELSEWHERE.get(last.replace("_", "")))]
    if same:
        return sorted(same, key=lambda each: -_ratio(typed, each))[:_MOST]
    alike = {each: _alike(typed, name) for each, name in others.items()}
    best = max(alike.values(), default=0.0)
    found = [each for each, ratio in alike.items() if ratio >= max(_LIKE, best - _CLOSE)]
    return sorted(found, key=lambda each: -alike[each])[:_MOST]


def guess(key: str, keys: Collection[str]) -> str:
    """``; did you mean optimizer.lr?``, or nothing where no key is like it."""
    found = nearest(key, keys)
    listed = " or ".join(filter(None, (", ".join(found[:-1]), *found[-1:])))
    return f"; did you mean {listed}?" if found else ""


def _alike(typed: str, key: str) -> float:
    """Names at one place are compared by their last parts, and favoured; others by those or as a whole."""
    if typed.rpartition(".")[0] == key.rpartition(".")[0]:
        return _ratio(_last(typed), _last(key)) + _CLOSE
    return max(_ratio(_last(typed), _last(key)), _ratio(typed, key) if "." in typed else 0.0)


def _plain(key: str) -> str:
    """Without what is often mixed up: ``optimizer/lr`` for ``optimizer.lr``."""
    return key.lower().replace("/", ".").replace("-", "_")


def _ratio(one: str, other: str) -> float:
    return SequenceMatcher(None, one, other).ratio()


def _last(key: str) -> str:
    return key.rpartition(".")[2]
