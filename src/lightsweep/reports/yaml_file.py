"""A YAML file from somebody else's folder: plain data, no tags, and no aliases that grow without end."""

from pathlib import Path
from typing import Any

import yaml

from lightsweep.core.files import read_regular


class _PlainLoader(yaml.SafeLoader):
    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases are not read")
        return super().compose_node(parent, index)


def load(path: Path) -> Any:
    """Its content; None where it is missing or damaged."""
    try:
        return yaml.load(read_regular(path), _PlainLoader)  # a SafeLoader
    except (OSError, ValueError, yaml.YAMLError, RecursionError):
        return None
