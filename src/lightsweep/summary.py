"""The short table that a run ends with."""

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text


def show(facts: dict[str, Any], folder: Path) -> None:
    """Print scores, size, time and the folder of a run whose `result.json` holds these facts."""
    table = Table(box=None, header_style="bold")
    for column in ("", "loss", "accuracy"):
        table.add_column(column, justify="left" if not column else "right")
    for part in ("train", "val", "test"):
        if f"{part}/acc" in facts:
            table.add_row(part, f"{facts[f'{part}/loss']:.4f}", f"{facts[f'{part}/acc']:.4f}")
    console = Console()
    console.print(table)
    console.print(
        f"best epoch {facts['best_epoch']} of {facts['epochs']}, {facts['params']:,} parameters,"
        f" {facts['seconds']:.0f} s of training",
        highlight=False,
    )
    console.print(Text(f"run folder: {folder}"), soft_wrap=True)  # Text: a path is no markup
