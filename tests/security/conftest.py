"""The scene of every attack: a victim's file, a marker that code would leave, a network that nobody may reach."""

import os
import pickle
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from digits_runs import trained
from saved_runs import change


class Touches:
    """Unpickled, it leaves a marker."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return open, (str(self.marker), "w")


class Scene:
    """A folder with what attacks need; the run's folder in it is theirs to write, nothing else is.

    Attributes:
        run: the run's folder.
        victim: a file of the person's.
        marker: is there once code of the attacker's has run.
        pickle: leaves the marker when it is unpickled.
        connections: what somebody tried to reach.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.run = folder, folder / "run"
        self.victim, self.marker, self.pickle = folder / "home" / "notes.txt", folder / "marker", folder / "bad.pkl"
        self.connections: list[Any] = []
        self.run.mkdir()
        self.victim.parent.mkdir()
        self.victim.write_text("mine\n")
        self.pickle.write_bytes(pickle.dumps(Touches(self.marker)))
        self.before = self._elsewhere()

    def bomb(self) -> Touches:
        """Leaves the marker when its pickle is loaded."""
        return Touches(self.marker)

    def assert_untouched(self) -> None:
        assert self.victim.read_text() == "mine\n"
        assert not self.marker.exists()
        assert self.connections == []
        assert self._elsewhere() == self.before

    def filled(self, node: Any) -> Any:
        """A node with {victim}, {home}, {marker}, {pickle} and {run} filled in."""
        if isinstance(node, dict):
            return {key: self.filled(value) for key, value in node.items()}
        if isinstance(node, list | tuple):
            return [self.filled(value) for value in node]
        if isinstance(node, str):
            for name in ("victim", "marker", "pickle", "run"):
                node = node.replace(f"{{{name}}}", str(getattr(self, name)))
            return node.replace("{home}", str(self.victim.parent))
        return node

    def write(self, path: str, content: Any, header: str = "") -> Path:
        """A config file below `folder`/conf, which is taken as given from now on."""
        file = self.folder / "conf" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(header + (content if isinstance(content, str) else yaml.safe_dump(self.filled(content))))
        self.before = self._elsewhere()
        return file

    def _elsewhere(self) -> dict[str, tuple[int, int]]:
        """Everything outside the run's folder, with size and time of change."""
        found = {}
        for place, folders, files in os.walk(self.folder):
            if Path(place) == self.run:
                folders.clear()
                continue
            folders[:] = [name for name in folders if name not in (".cache", ".config")]  # matplotlib's, in HOME
            for name in (*folders, *files):
                stat = Path(place, name).lstat()
                found[f"{place}/{name}"] = (
                    stat.st_size if name in files else 0,
                    stat.st_mtime_ns if name in files else 0,
                )
        return found


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scene:
    scene = Scene(tmp_path)
    monkeypatch.setenv("HOME", str(scene.victim.parent))

    def refused(*arguments: Any, **named: Any) -> Any:
        scene.connections.append(arguments)
        raise OSError("no network in this test")

    for name in ("getaddrinfo", "create_connection", "gethostbyname"):
        monkeypatch.setattr(socket, name, refused)
    real = socket.socket.connect
    monkeypatch.setattr(
        socket.socket,
        "connect",
        lambda self, address: real(self, address) if self.family == socket.AF_UNIX else refused(address),
    )
    return scene


SMALL = ("data=digits", "trainer=cpu", "trainer.max_epochs=1", "model.width=4", "model.depth=1", "logger=none")


@pytest.fixture
def attack(scene: Scene, launch) -> Callable[..., str]:
    """Run train.py in this process with the scene's configs as ``--config-dir``. It must end with one line and code 1,
    nothing may have happened, and no folder may be left. Gives the line.

    Args:
        says: is in the line.
        without: keys whose safe values here are not typed, since the attack is about them.
    """

    def attacked(*arguments: str, says: str, without: tuple[str, ...] = ()) -> str:
        safe = {"hydra.run.dir": scene.run / "new", "hydra.sweep.dir": scene.run / "grid", "callbacks": "none"}
        typed = {argument.partition("=")[0] for argument in arguments} | set(without)
        kept = [f"{key}={value}" for key, value in safe.items() if key not in typed]
        done = launch(*SMALL, *kept, "--config-dir", str(scene.folder / "conf"), *arguments)
        assert done.code == 1, done.out
        assert len(done.err.strip().splitlines()) == 1, done.err
        assert says in done.err
        scene.assert_untouched()
        assert list(scene.run.iterdir()) == []
        return done.err

    return attacked


@pytest.fixture(scope="session")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one epoch; tests change copies of it."""
    return trained(tmp_path_factory.mktemp("kept"), "trainer.max_epochs=1").folder


@pytest.fixture
def foreign(scene, kept: Path) -> Path:
    shutil.copytree(kept, scene.run, dirs_exist_ok=True)
    change(scene.run, "run_dir", "${hydra:runtime.output_dir}")  # as train.py's own command keeps it
    return scene.run
