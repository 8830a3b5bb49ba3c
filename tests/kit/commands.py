"""The command line, in this process or as a user runs it, and `skerry serve` to be killed. No tests here."""

import contextlib
import io
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from skerry_host.cli.main import run
from skerry_host.home import Home
from tests.kit.programs import ROOT

WITH_IDENTITIES = "--with-identities"
"""No option of `skerry serve`, but what tests say where its broker is to be as users have it: with TLS."""


@dataclass
class Done:
    """How a command ended and what it said."""

    returncode: int
    stdout: str
    stderr: str


def skerry(home: Home, *arguments: str, check: bool = True) -> Done:
    """Run one command in this process, which is quicker than in one of its own."""
    out, err, before = io.StringIO(), io.StringIO(), dict(os.environ)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = run(["--home", str(home.root), *arguments])
    finally:
        os.environ.clear()
        os.environ.update(before)
    assert not check or code == 0, err.getvalue()
    return Done(code, out.getvalue(), err.getvalue())


def provision(home: Home, device: str, out: Path) -> None:
    """Enrol a device, for a broker that nobody calls."""
    skerry(
        home,
        "device",
        "provision",
        device,
        "--board",
        "generic-x86",
        "--broker",
        "mqtt://h",
        "--config-only",
        "--out",
        str(out),
    )


def skerry_process(home: Home, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run one command as a user would."""
    return subprocess.run(
        _command(home, *arguments), capture_output=True, text=True, timeout=60, check=False, env=_environment()
    )


@contextlib.contextmanager
def skerry_running(home: Home, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A command that goes on until it is told to stop; killed at the end if it is still there."""
    piped = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(_command(home, *arguments), env=_environment(), **piped) as process:
        try:
            yield process
        finally:
            process.kill()


@contextlib.contextmanager
def serving(home: Home, *options: str) -> Iterator["Serving"]:
    """`skerry serve` as a process of its own, killed at the end if it is still there.

    The broker that it starts asks for no certificates, unless `options` hold `WITH_IDENTITIES`.
    """
    running = Serving(home, options)
    try:
        yield running
    finally:
        running.kill()


class Serving:
    """A serving plane that can be killed and started again on the same ports."""

    def __init__(self, home: Home, options: tuple[str, ...]) -> None:
        self._home, self._options = home, _plain_unless_told(options)
        self.broker = self.page = ""
        self.start()

    def start(self) -> None:
        """Start it and wait until it says where it serves."""
        command = _command(self._home, "serve", "--json", *self._options)
        log = (self._home.root / "serve.log").open("a")
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, env=_environment())
        log.close()
        assert self._process.stdout is not None
        text = ""
        while not text.rstrip().endswith("}"):
            line = self._process.stdout.readline()
            assert line, (self._home.root / "serve.log").read_text()
            text += line
        said = msgspec.json.decode(text)
        self.broker, self.page = said["broker"], said["page"]

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def kill(self) -> None:
        """As a power cut would: -9."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait(10)
        assert self._process.stdout is not None
        self._process.stdout.close()

    def stop(self) -> int:
        """Ask it to end, and return its exit code."""
        self._process.terminate()
        return self._process.wait(15)


def _plain_unless_told(options: tuple[str, ...]) -> tuple[str, ...]:
    if WITH_IDENTITIES in options:
        return tuple(option for option in options if option != WITH_IDENTITIES)
    return options if {"--broker", "--plain"} & set(options) else ("--plain", *options)


def _command(home: Home, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "skerry_host.cli", "--home", str(home.root), *arguments]


def _environment() -> dict[str, str]:
    paths = [str(ROOT / "host"), str(ROOT / "agent"), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
