"""A PostgreSQL of the tests' own: the server comes from Debian's package, which `.ci/run` installs."""

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass(frozen=True)
class Server:
    """A PostgreSQL that can be stopped and started."""

    url: str
    start: Callable[[], None]
    stop: Callable[[], None]


@contextmanager
def running() -> Iterator[Server]:
    """A fresh PostgreSQL on loopback, as long as the block lasts; skips the test where there is none."""
    programs = _programs()
    if programs is None:
        pytest.skip("PostgreSQL's server is not installed (Debian: apt-get install postgresql)")
    pytest.importorskip("psycopg", reason="needs the extra: pip install 'lightsweep[postgres]'")
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))  # pytest's own folders are for their owner only
    user = []
    if os.getuid() == 0:  # PostgreSQL refuses to run as root
        if shutil.which("runuser") is None:
            pytest.skip("PostgreSQL does not run as root, and there is no runuser")
        shutil.chown(folder, "nobody")
        user = ["runuser", "-u", "nobody", "--"]
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    data = folder / "data"

    def control(*arguments: str) -> None:
        subprocess.run([*user, *arguments], check=True, cwd=folder, stdout=subprocess.DEVNULL)

    control(str(programs / "initdb"), "-D", str(data), "-U", "sweeper", "--auth=trust", "--no-sync")
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder} -c fsync=off"

    def start() -> None:
        control(str(programs / "pg_ctl"), "-D", str(data), "-w", "-l", str(folder / "log"), "-o", options, "start")

    def stop() -> None:
        control(str(programs / "pg_ctl"), "-D", str(data), "-m", "immediate", "stop")

    start()
    try:
        yield Server(f"postgresql://sweeper@127.0.0.1:{port}/postgres", start, stop)
    finally:
        stop()
        shutil.rmtree(folder)


def _programs() -> Path | None:
    found = shutil.which("initdb")
    if found:
        return Path(found).resolve().parent
    candidates = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return candidates[-1].parent if candidates else None
