"""The updater as a process: 200 MB on a small board, and what a device does whose updater is killed each time."""

import hashlib
import lzma
import os
import queue
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from skerry_agent.deployment.children import RealProcesses
from skerry_agent.deployment.preparation import CRASH_PAUSE_S
from skerry_agent.machine.records import State
from skerry_agent.machine.table import MAX_ATTEMPTS
from skerry_agent.patch import MAX_EXTRA_BYTES, PatchHeader
from skerry_agent.patch.container import FORMAT_VERSION, pack_header, pack_varint
from skerry_agent.patch.section import filters
from skerry_agent.ports.jobs import Answer, PlanJob, Planned, Staged, StageJob
from skerry_agent.wire import codec
from skerry_agent.wire.blobs import BlobRef, describe
from tests.kit.memory_limit import cgroup, limited, mapped_bytes
from tests.kit.unit import Device, order
from tests.kit.updater import NEW, OLD, Bench
from tests.kit.waiting import eventually

PIECE = np.random.default_rng(1).bytes((1 << 20) - 4096) + b"text " * 820
PIECES = 191
SMALL_BOARD_BYTES = 64 * 1024 * 1024
SLACK_BYTES = 2_000_000  # the answer, the manifest, what the C library keeps
LARGE_DICTIONARY = 2


def large_patch(folder: Path) -> tuple[BlobRef, BlobRef]:
    """A `full` patch that makes 200 MB: its reference as it lies in `folder`, after that of what it makes."""
    packed = lzma.compress(PIECE, lzma.FORMAT_RAW, filters=filters(LARGE_DICTIONARY))[:-1]
    digest = hashlib.sha256()
    for _ in range(PIECES):
        digest.update(PIECE)
    new = BlobRef(digest.hexdigest(), PIECES * len(PIECE), digests_sha256="0" * 64)
    header = PatchHeader(FORMAT_VERSION, describe(OLD).sha256, new.sha256, len(OLD), new.size, "full")
    sizes = pack_varint(new.size) + pack_varint(PIECES * len(packed) + 1)
    patch = folder / ("1" * 64)
    with patch.open("wb") as file:
        file.write(pack_header(header) + bytes([LARGE_DICTIONARY]) + sizes)
        for _ in range(PIECES):
            file.write(packed)
        file.write(b"\0")
    return new, BlobRef(patch.name, patch.stat().st_size, digests_sha256="0" * 64)


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


def test_a_patch_that_makes_200_mb_is_applied_within_64_mb(bench, tmp_path):
    """Of which the interpreter and its libraries take most."""
    new, patch = large_patch(bench.blobs)
    bench.offer(new, patch)
    most = mapped_bytes("skerry_agent.updater.bundle") + MAX_EXTRA_BYTES + SLACK_BYTES
    command = [sys.executable, "-m", "skerry_agent.updater", str(bench.trust_file), str(tmp_path), str(os.getpid())]
    with cgroup(f"skerry-test-{os.getpid()}", SMALL_BOARD_BYTES, tmp_path) as group:
        job = codec.encode(bench.stage_job()) + b"\n"
        ended = subprocess.run(limited(command, most, group), input=job, capture_output=True, check=False, timeout=120)
    assert (ended.returncode, ended.stderr) == (0, b"")
    assert codec.decode(ended.stdout, Answer) == Staged(new.sha256)
    assert (bench.bundle_dir / "model.tflite").stat().st_size == new.size


DEATHS = [signal.SIGKILL, signal.SIGSEGV, signal.SIGBUS]


class Killed:
    """A device whose updater is a process, killed each time that it applies the patch."""

    def __init__(self, bench: Bench, folder: Path):
        self.bench, self.deaths = bench, list(DEATHS)
        base = Path(next(iter(bench.have.values())))
        base.unlink()
        os.mkfifo(base)  # nobody writes to it, so that the updater waits for its base
        bench.put(bench.patch)
        folder.mkdir()
        self.device = Device(folder)
        self.device.plan, self.device.stage = Planned("patch", ()), Staged(describe(NEW).sha256)
        self.device.answer = self.answer
        self.device.boot()

    def answer(self, job) -> Answer:
        if isinstance(job, PlanJob) and job.force_full:
            self.bench.put(NEW)
        if isinstance(job, StageJob) and self.device.deployment.transfer == "patch":
            return self.killed()
        if isinstance(job, StageJob):
            assert self.bench.stage() == self.device.stage
        return Device.answer(self.device, job)

    def killed(self) -> Answer:
        posted: queue.Queue[Callable[[], None]] = queue.Queue()
        answers: list[Answer] = []
        real = RealProcesses(posted.put, self.bench.trust_file, self.device.folder)
        real.run_updater(self.bench.stage_job(), answers.append)
        begun = self.bench.bundle_dir.with_name(".new-cpu.tmp") / "model.tflite"
        eventually(begun.exists, "the updater applies the patch")
        os.kill(_updater(), self.deaths.pop(0))
        posted.get(timeout=60)()
        begun.unlink()
        return answers[0]


def _updater() -> int:
    """The process id of the one updater that this process has started."""
    for folder in Path("/proc").glob("[0-9]*"):
        stat, command = (_read(folder / name) for name in ("stat", "cmdline"))
        if b"skerry_agent.updater" in command and int(stat.rpartition(b")")[2].split()[1]) == os.getpid():
            return int(folder.name)
    raise AssertionError("no updater runs")


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError:
        return b""


def test_an_updater_that_is_killed_three_times_over_a_patch_makes_way_for_the_full_file(bench, tmp_path):
    killed = Killed(bench, tmp_path / "device")
    device = killed.device
    device.unit.order(order("1.1.0", 1))
    device.pump()
    for attempt in range(1, MAX_ATTEMPTS):
        assert (device.unit.record.state, device.deployment.attempts) == (State.VERIFYING, attempt)
        device.clock.advance(CRASH_PAUSE_S * attempt)
    assert killed.deaths == []
    assert (device.unit.record.state, device.deployment.transfer) == (State.STAGED, "full")
    assert [path.name for path in bench.bundle_dir.parent.iterdir()] == [bench.bundle_dir.name]
