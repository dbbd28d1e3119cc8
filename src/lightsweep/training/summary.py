"""The short table that a run ends with."""

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

_COLUMNS = {"loss": "loss", "acc": "accuracy"}
_IF_WATCHED = {"f1": "macro F1", "balanced_acc": "balanced acc."}


def show(facts: dict[str, Any], folder: Path, *, of_best: bool) -> None:
    """Print scores, size, time and the folder of a run whose `result.json` holds these facts.

    Args:
        of_best: were the weights scored that were kept as the best ones?
    """
    watched = facts["monitor"].partition("/")[2]
    columns = _COLUMNS | {name: title for name, title in _IF_WATCHED.items() if name == watched}
    table = Table(box=None, header_style="bold")
    for column in ("", *columns.values()):
        table.add_column(column, justify="left" if not column else "right")
    for part in ("train", "val", "test"):
        if f"{part}/acc" in facts:
            table.add_row(part, *(f"{facts[f'{part}/{name}']:.4f}" for name in columns))
    console = Console()
    console.print(table)
    which = "best" if of_best else "scored"
    console.print(
        f"{which} epoch {facts['best_epoch']} of {facts['epochs']}, {facts['params']:,} parameters,"
        f" {facts['seconds']:.0f} s of training",
        highlight=False,
    )
    if facts["best_value"] is None:
        console.print(f"{facts['monitor']} was never measured, so no epoch is the best one", highlight=False)
    console.print(Text(f"run folder: {folder}"), soft_wrap=True)  # Text: a path is no markup
