"""What tests of the plane stand on: a home with releases, a broker, and simulated devices. No tests here."""

import contextlib
import hashlib
import io
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest

from skerry_agent.wire.envelope import RELEASE
from skerry_agent.wire.manifest import Artifact, Bundle, PatchRef, Provenance, Quality, Release
from skerry_host.cli.main import run
from skerry_host.home import Home, init_home
from skerry_host.release import keys
from skerry_host.release.store import Store

ROOT = Path(__file__).resolve().parents[3]
QUALITY = Quality("top1", 2000, 0.91, 0.905, (0.9, 0.92), (0.89, 0.915), {"out": 30.0}, 400_000, 120_000)
PROVENANCE = Provenance("0" * 64, "1" * 64, {"litert-quantizer": "0.11.0"}, "2026-01-01T00:00:00Z")


def require_program(name: str, package: str) -> str:
    """The path of a program; installed where that can be done, else the test is skipped and says why."""
    places = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin"])
    found = shutil.which(name, path=places)
    if found is None and os.geteuid() == 0 and shutil.which("apt-get"):
        for command in (["update"], ["install", "-y", "--no-install-recommends", package]):
            subprocess.run(["apt-get", *command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
        found = shutil.which(name, path=places)
    if found is None:
        pytest.skip(f"{name} is not installed (Debian package {package})")
    return found


def make_home(folder: Path) -> Home:
    """An initialised home."""
    return init_home(folder)


def model_bytes(seed: str, size: int) -> bytes:
    """Bytes that look like a model: the same for the same seed, and nothing compresses them."""
    block = hashlib.sha256(seed.encode()).digest()
    out = bytearray()
    while len(out) < size:
        block = hashlib.sha256(block).digest()
        out += block
    return bytes(out[:size])


def add_release(home: Home, version: str, model: bytes, *, base: bytes | None = None, patch: bytes = b"") -> Release:
    """Put a signed release `fashion@version` into the store, with a patch from `base` when it is given."""
    store = Store(home.store)
    artifact = Artifact("model.tflite", "model", store.put(model))
    golden = Artifact("golden.npz", "golden", store.put(b"golden of " + version.encode()))
    patches = ()
    if base is not None:
        base_sha = hashlib.sha256(base).hexdigest()
        patches = (PatchRef(base_sha, artifact.blob.sha256, "zstd", store.put(patch)),)
    counter = int(version.replace(".", ""))
    bundle = Bundle("cpu", (artifact, golden), (), ())
    release = Release(1, "fashion", version, counter, (bundle,), QUALITY, PROVENANCE, patches)
    envelope = keys.load(home.keys, "release").sign(RELEASE, msgspec.json.encode(release))
    store.add(release, envelope)
    return release


def eventually(check: Callable[[], object], what: str, patience_s: float = 20.0) -> None:
    """Wait until `check` is true; fail with `what` after `patience_s`."""
    deadline = time.monotonic() + patience_s
    while not check():
        assert time.monotonic() < deadline, f"not within {patience_s:g} s: {what}"
        time.sleep(0.02)


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


def skerry_process(home: Home, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run one command as a user would."""
    command = [sys.executable, "-m", "skerry_host.cli", "--home", str(home.root), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=_environment())


@contextlib.contextmanager
def serving(home: Home, *options: str) -> Iterator["Serving"]:
    """`skerry serve` as a process of its own, killed at the end if it is still there."""
    running = Serving(home, options)
    try:
        yield running
    finally:
        running.kill()


class Serving:
    """A serving plane that can be killed and started again on the same ports."""

    def __init__(self, home: Home, options: tuple[str, ...]) -> None:
        self._home, self._options = home, options
        self.broker = self.page = ""
        self.start()

    def start(self) -> None:
        """Start it and wait until it says where it serves."""
        command = [sys.executable, "-m", "skerry_host.cli", "--home", str(self._home.root), "serve", "--json"]
        log = (self._home.root / "serve.log").open("a")
        self._process = subprocess.Popen(
            [*command, *self._options], stdout=subprocess.PIPE, stderr=log, text=True, env=_environment()
        )
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


def _environment() -> dict[str, str]:
    paths = [str(ROOT / "host"), str(ROOT / "agent"), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
