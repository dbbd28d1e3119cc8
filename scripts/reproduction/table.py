"""RESULTS.md from the rows and their records."""

from .records import Record
from .rows import Row


def text(rows: list[Row], found: dict[str, list[Record]]) -> str:
    lines = ["# Reference experiments, reproduced", ""]
    for row in rows:
        for record in found[row.name]:
            lines.append(f"{row.name} {record['seed']} {record.get('test/acc')} {row.reported}")
    return "\n".join(lines) + "\n"
