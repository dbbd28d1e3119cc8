"""Figures as they are made for a page: their data by id, the sections that show them, and what could not be drawn."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from lightsweep.reports.figures import Figure
from lightsweep.reports.text import plain


@dataclass
class Drawing:
    """Gathers the figures of a page."""

    data: dict[str, Figure] = field(default_factory=dict)
    sections: list[dict[str, Any]] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    def section(self, id_: str, title: str) -> None:
        self.sections.append({"id": id_, "title": title, "text": "", "figures": []})

    def say(self, text: str) -> None:
        """A sentence in the latest section, in the place of a figure."""
        self.sections[-1]["text"] = text

    def add(self, label: str, make: Callable[[], Figure | None], note: str = "", size: str = "") -> None:
        """Draw a figure in the latest section. What a library cannot draw of a strange study costs that figure only."""
        try:
            figure = make()
        except Exception as error:
            self.remarks.append(plain(f"{label} could not be drawn ({type(error).__name__}: {error})")[:300])
            return
        if figure is not None:
            id_ = f"figure-{len(self.data)}"
            self.data[id_] = figure
            self.sections[-1]["figures"].append({"id": id_, "label": label, "note": note, "size": size})

    @property
    def shown(self) -> list[dict[str, Any]]:
        """Sections that have something in them."""
        return [section for section in self.sections if section["figures"] or section["text"]]

    @property
    def links(self) -> list[tuple[str, str]]:
        return [(section["id"] + "-section", section["title"]) for section in self.shown]
