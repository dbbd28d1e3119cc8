"""A MariaDB of the tests' own: the server comes from Debian's package mariadb-server."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from postgresql import Server

_STARTED = 60  # seconds that the server may take


@contextmanager
def running() -> Iterator[Server]:
    """A fresh MariaDB on loopback with an empty database, as long as the block lasts; skips the test without one."""
    programs = _programs()
    pymysql = pytest.importorskip("pymysql", reason="MariaDB's tests need a driver: pip install pymysql")
    folder = Path(tempfile.mkdtemp(prefix="mariadb-"))  # pytest's own folders are for their owner only
    user = []
    if os.getuid() == 0:  # MariaDB refuses to run as root
        shutil.chown(folder, "nobody", "nogroup")
        user = ["--user=nobody"]
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    data, log = folder / "data", folder / "log"
    setup = folder / "setup.sql"  # read at every start; nobody needs a password
    setup.write_text(
        "CREATE DATABASE IF NOT EXISTS studies;\n"
        "CREATE USER IF NOT EXISTS sweeper@'127.0.0.1';\n"
        "GRANT ALL ON studies.* TO sweeper@'127.0.0.1';\n"
    )
    setup.chmod(0o644)
    options = ["--no-defaults", *user, f"--datadir={data}", "--skip-name-resolve", "--innodb-flush-method=nosync"]
    reached = [f"--port={port}", "--bind-address=127.0.0.1", f"--socket={folder / 'socket'}"]
    files = [f"--pid-file={folder / 'pid'}", f"--log-error={log}", f"--init-file={setup}"]
    process: subprocess.Popen[bytes] | None = None

    def start() -> None:
        nonlocal process
        process = subprocess.Popen(
            [programs["mariadbd"], *options, *reached, *files],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for pytest
        )
        end = time.monotonic() + _STARTED
        while True:
            with suppress(pymysql.err.OperationalError):
                pymysql.connect(host="127.0.0.1", port=port, user="sweeper", database="studies").close()
                return
            if process.poll() is not None or time.monotonic() > end:
                pytest.fail(f"MariaDB did not start:\n{log.read_text()[-2000:] if log.exists() else ''}")
            time.sleep(0.05)

    def stop() -> None:
        """At once, as a machine that goes down."""
        if process is not None:
            process.send_signal(signal.SIGKILL)
            process.wait()

    try:
        install = [programs["mariadb-install-db"], *options, "--skip-test-db"]
        subprocess.run(install, check=True, cwd=folder, stdout=subprocess.DEVNULL)
        start()
        yield Server(f"mysql+pymysql://sweeper@127.0.0.1:{port}/studies", start, stop)
    finally:
        stop()
        shutil.rmtree(folder)


def _programs() -> dict[str, str]:
    """Where the programs are; an ordinary user's PATH lacks Debian's folder of the server."""
    places = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/libexec"))
    found = {name: shutil.which(name, path=places) for name in ("mariadbd", "mariadb-install-db")}
    if None in found.values():
        pytest.skip("MariaDB's server is not installed (Debian: apt-get install mariadb-server)")
    return {name: place for name, place in found.items() if place is not None}
