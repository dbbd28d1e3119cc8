"""One self-contained HTML page: opens offline in any browser, asks nobody for anything.

Its content security policy allows the page's own scripts, by their hashes, and no request. Values from run folders are
escaped by Jinja2, and the figures' data by `embedded`.
"""

import base64
import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from lightsweep.core.errors import ConfigError
from lightsweep.core.files import write_whole
from lightsweep.reports.figures import Figure

_HERE = Path(__file__).parent


def write(path: Path, template: str, content: Mapping[str, Any], figures: Mapping[str, Figure]) -> None:
    """Write a page.

    Args:
        template: a file beside this one.
        content: what the template shows.
        figures: by the id of the element that they are drawn in.
    """
    if path.is_dir() or not path.parent.is_dir():
        raise ConfigError(f"--html must be a file in a folder that is there, got {str(path)!r}")
    write_whole(path, render(template, content, figures))


def render(template: str, content: Mapping[str, Any], figures: Mapping[str, Figure]) -> str:
    from plotly.offline import get_plotlyjs

    environment = Environment(
        loader=PackageLoader("lightsweep.reports", "page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    scripts = [(_HERE / "page.js").read_text(encoding="utf-8")]
    if figures:
        scripts.insert(0, get_plotlyjs().replace("\r\n", "\n"))
    return environment.get_template(template).render(
        **content,
        policy=_policy(scripts),
        style=Markup((_HERE / "style.css").read_text(encoding="utf-8")),
        scripts=[Markup(script) for script in scripts],
        figure_data=Markup(embedded(figures)),
    )


def embedded(content: Any) -> str:
    """JSON that can stand inside a script element: nothing in it ends the element or begins a comment."""
    text = json.dumps(_finite(content), allow_nan=False, separators=(",", ":"))
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None  # more digits nobody sees
    return value


def _policy(scripts: list[str]) -> str:
    hashes = " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(s.encode()).digest()).decode()}'" for s in scripts)
    return (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data: blob:;"
        " base-uri 'none'; form-action 'none'"
    )
