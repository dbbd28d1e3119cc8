"""One self-contained HTML page: opens offline in any browser, requests nothing. Its leaderboard and commands.

Its content security policy allows the page's own scripts, by their hashes, and no request. Values from run folders are
escaped by Jinja2, and the figures' data by `embed_json`.
"""

import base64
import hashlib
import json
import re
import shlex
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from lightsweep.config import allowlist
from lightsweep.core.errors import ConfigError
from lightsweep.core.files import read_regular, write_atomic
from lightsweep.core.text import printable_line
from lightsweep.reports.figures import Figure
from lightsweep.reports.runs import Run, load_yaml
from lightsweep.reports.table_text import make_finite
from lightsweep.sweeper.config_differences import BEST_FILE, REPEAT_FILE
from lightsweep.sweeper.trials import number_of
from lightsweep.sweeper.verdict import point_file

_HERE = Path(__file__).parent
_SCRIPTS = ("figures.js", "table.js", "filter.js", "brush.js")  # a later one uses those before it
RULE = "Ranked by validation, never by test scores."
_BEST_HEADER = re.compile(r"# trial (\d+) of the sweep")


def write_page(
    path: Path,
    template: str,
    content: Mapping[str, Any],
    drawn: Mapping[str, Figure],
    opened: Mapping[str, Mapping[str, Any]] | None = None,
) -> None:
    """Write a page.

    Args:
        template: a file in this folder.
        content: what the template shows.
        drawn: figures by the id of the element that they are drawn in.
        opened: what a row shows when it is opened, by the key of its run.
    """
    if path.is_dir() or not path.parent.is_dir():
        raise ConfigError(f"--html must be a file in a folder that is there, got {str(path)!r}")
    from jinja2 import Environment, PackageLoader, StrictUndefined  # of the extra `report`
    from markupsafe import Markup
    from plotly.offline import get_plotlyjs

    environment = Environment(
        loader=PackageLoader("lightsweep.reports", "page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    scripts = [(_HERE / name).read_text(encoding="utf-8") for name in _SCRIPTS]
    if drawn:
        scripts.insert(0, get_plotlyjs().replace("\r\n", "\n"))
    text = environment.get_template(template).render(
        **{"rule": RULE, **content},
        written=datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z"),
        policy=_security_policy(scripts),
        style=Markup((_HERE / "style.css").read_text(encoding="utf-8")),
        scripts=[Markup(script) for script in scripts],
        figure_data=Markup(embed_json(drawn)),
        run_data=Markup(embed_json(opened or {})),
    )
    write_atomic(path, text)


def _security_policy(scripts: Sequence[str]) -> str:
    hashes = " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(s.encode()).digest()).decode()}'" for s in scripts)
    return (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data: blob:;"
        " base-uri 'none'; form-action 'none'"
    )


def embed_json(content: Any) -> str:
    """JSON for a script element: nothing in it ends the element or starts a comment."""
    text = json.dumps(make_finite(content, digits=6), allow_nan=False, separators=(",", ":"))
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text


def find_training_command(run: Run) -> tuple[str | None, str]:
    """The command that trains a run again (None where it is not known), and a remark on it."""
    program = "python src/train.py" if run.sweep is None else run.sweep.program
    if not program:
        return None, "The study does not say which command runs its app."
    best = _find_best_file(run)
    has_files = run.sweep is None or best is not None or (run.folder / REPEAT_FILE).is_file()
    if run.kind not in ("trial", "seed", "confirmation", "ablation") or not has_files:
        options = _config_options(run.folder) if run.sweep is None else []
        kept = [line for line in run.overrides if not is_left_out(line)]
        left_out = [printable_line(line.partition("=")[0]) for line in run.overrides if is_left_out(line)]
        note = f"Left out, add them yourself: {', '.join(left_out)}." if left_out else ""
        return f"{program} {shlex.join(map(printable_line, [*options, *kept]))}", note
    if best is not None:
        return _command_with_config(program, run.folder.parent, best), ""
    first = run.members[0]
    if not (first.folder / REPEAT_FILE).is_file():
        return None, f"Its sweep has left no {REPEAT_FILE}, the config to train it again."
    return _command_with_config(program, first.folder, REPEAT_FILE), "This is its first seed." if run.seeds else ""


def is_left_out(line: str) -> bool:
    """Whether an override is about where a run is kept, or could do harm: the run may be somebody else's."""
    key, _, value = line.lstrip("+~").partition("=")
    return (
        re.fullmatch(r"[A-Za-z_][\w./-]*", key) is None
        or key.startswith(("hydra", "run_dir", "resume"))
        or key.rpartition(".")[2] in allowlist.GUARDED
        or value.lstrip().startswith("{")
        or "${" in value
    )


def _config_options(folder: Path) -> list[str]:
    from lightsweep.runs import saved_config  # it needs Hydra 1.4, which another app may not have

    noted = load_yaml(folder / ".hydra" / "hydra.yaml")
    try:
        return saved_config.config_options(noted["hydra"])
    except (KeyError, TypeError):  # missing, damaged, or of another program
        return []


def _find_best_file(run: Run) -> str | None:
    """The config that its sweep has written of it as the best trial, or as one on the Pareto front; None elsewhere."""
    for name in (BEST_FILE, point_file(number_of(run.folder))):
        try:
            named = _BEST_HEADER.match(read_regular(run.folder.parent / name))
        except (OSError, ValueError):
            continue
        if named is not None and f"trial-{int(named[1]):04d}" == run.folder.name:
            return name
    return None


def _command_with_config(program: str, folder: Path, file: str) -> str:
    where = shlex.quote(printable_line(folder.resolve()))
    return f"{program} --config-dir {where} --config-name {file.removesuffix('.yaml')}"
