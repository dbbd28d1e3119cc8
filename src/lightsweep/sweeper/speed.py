"""How fast a sweep's populations were: the study's attribute, and a line of it."""

from typing import Any


def measure_speed(*, trials: int, images: int, seconds: float, places: int) -> dict[str, float]:
    """The attribute; empty of a sweep whose populations have trained on nothing.

    Args:
        trials: that ended.
        images: that populations have trained on.
        seconds: that it took.
        places: of each worker.
    """
    if not (trials and images and seconds > 0):
        return {}
    return {"trials_per_second": trials / seconds, "images_per_second": images / seconds, "population": places}


def format_speed(speed: Any) -> str:
    """``0.9 trials and 41,000 images a second, 64 trials at once in a worker``; empty where it is unknown."""
    try:
        trials, images = f"{float(speed['trials_per_second']):.2g}", float(speed["images_per_second"])
        at_once = f"{int(speed['population'])} trials at once in a worker"
    except (TypeError, KeyError, ValueError, OverflowError):  # a study may be somebody else's
        return ""
    return f"{trials} trials and {images:,.0f} images a second, {at_once}"
