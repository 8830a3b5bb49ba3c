"""A real PostgreSQL of a test's own: on loopback, with a password, in a folder that goes with it. No tests here."""

import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from skerry_host.plane.broker.broker import free_port
from tests.kit.programs import require_program
from tests.kit.waiting import eventually

USER, PASSWORD = "skerry", "s3cret"
NOBODY = "nobody"
"""Who runs it where the tests are root's: PostgreSQL refuses to be."""
QUICK = ("fsync=off", "full_page_writes=off", "synchronous_commit=off", "shared_buffers=16MB", "autovacuum=off")


class PostgreSql:
    """A server while it is entered. Databases are copies of one that is made once."""

    def __init__(self, folder: Path) -> None:
        require_program("pg_lsclusters", "postgresql")  # Debian keeps the programs themselves outside of any PATH
        found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
        if not found:
            pytest.skip("PostgreSQL is not installed (Debian package postgresql)")
        self._programs, self._folder = found[-1].parent, folder
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def url(self, database: str, password: str = PASSWORD) -> str:
        """As `skerry` takes it."""
        return f"postgresql://{USER}:{password}@127.0.0.1:{self.port}/{database}"

    def create(self, name: str, template: str = "template0") -> str:
        """A new database; its URL."""
        import psycopg

        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        return self.url(name)

    def stop(self) -> None:
        """End it, whoever is connected."""
        if self._process is not None:
            self._process.send_signal(2)
            self._process.wait(20)
            self._process = None

    def start(self) -> None:
        """Run it; returns when it answers."""
        options = [word for each in (*QUICK, "listen_addresses=127.0.0.1") for word in ("-c", each)]
        command = [self._programs / "postgres", "-D", "data", "-p", self.port, "-k", self._folder, *options]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(self._as_nobody(command), cwd=self._folder, stdout=log, stderr=log)
        ready = [self._programs / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        eventually(lambda: subprocess.run(ready, check=False).returncode == 0, "PostgreSQL answers", 20)

    def __enter__(self) -> "PostgreSql":
        self._folder.mkdir(parents=True)
        secret = self._folder / "password"
        secret.write_text(PASSWORD)
        secret.chmod(0o644)
        if os.geteuid() == 0:
            shutil.chown(self._folder, NOBODY)
        init = [self._programs / "initdb", "-D", "data", "-U", USER, "-A", "scram-sha-256", "-N", "-E", "UTF8"]
        init += ["--locale=C", f"--pwfile={secret}"]
        done = subprocess.run(self._as_nobody(init), cwd=self._folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _as_nobody(self, command: list[object]) -> list[str]:
        words = [str(word) for word in command]
        if os.geteuid() != 0:
            return words
        group = f"--regid={pwd.getpwnam(NOBODY).pw_gid}"
        return ["setpriv", f"--reuid={NOBODY}", group, "--clear-groups", "--pdeathsig", "INT", "--", *words]


@contextmanager
def postgresql(folder: Path) -> Iterator[PostgreSql]:
    """A server in this folder, which another user must be able to reach."""
    pytest.importorskip("psycopg", reason="psycopg is not installed: pip install 'skerry-host[postgresql]'")
    with PostgreSql(folder) as server:
        yield server
