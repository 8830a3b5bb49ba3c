"""Starts runner and updater processes, and reads their messages. Knows nothing of deployments.

Each runner gets one end of a socket pair; a thread turns its JSON lines into calls in the supervisor's thread. What
children write to standard error goes to the agent's log; the last lines of a runner's are kept, so that a crash can be
explained remotely. Text of a child may hold anything (a model's names, a driver's output): it is cleaned here.
"""

import contextlib
import errno
import os
import socket
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from msgspec.structs import replace

from skerry_agent import log
from skerry_agent.deployment.exits import explain, is_stopped, oom_kills
from skerry_agent.ports.bounded import run_bounded
from skerry_agent.ports.interfaces import AcceleratorLook, Post, Runner, RunnerListener
from skerry_agent.ports.jobs import MAX_LINE_BYTES, Answer, Refusal, UpdaterJob, Verified
from skerry_agent.ports.path import with_path
from skerry_agent.ports.runner_protocol import FromRunner, Job, Loaded, Refused, ToRunner
from skerry_agent.wire import codec
from skerry_agent.wire.codec import MAX_MESSAGE_BYTES
from skerry_agent.wire.errors import WireError
from skerry_agent.wire.plain_text import cleaned

LAST_LINES, LAST_CHARS = 5, 300
UPDATER_TIMEOUT_S = 600
LOOK_TIMEOUT_S = 20.0


class RunnerProcess:
    """One running `python -m skerry_agent.runner`."""

    def __init__(self, job: Job, listener: RunnerListener, post: Post) -> None:
        self._listener, self._post, self._model = listener, post, job.model
        self._control, theirs = socket.socketpair()
        self._oom_kills, self._killed = oom_kills(), False
        inherited = [theirs.fileno(), *job.inherited_fds]
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "skerry_agent.runner", "--control-fd", str(theirs.fileno())],
                pass_fds=inherited,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                env=with_path(job.runtime_dir) if job.runtime_dir else None,
            )
        except OSError:
            self._control.close()
            raise
        finally:
            theirs.close()
        self.pid = self._process.pid
        self._last_lines: deque[str] = deque(maxlen=LAST_LINES)
        self._errors = threading.Thread(target=self._read_errors, daemon=True)
        try:
            self._errors.start()
            self._write(codec.encode(job))
            threading.Thread(target=self._read_control, daemon=True).start()
        except RuntimeError:
            self._control.close()
            _give_up(self._process)
            raise _no_thread() from None

    def send(self, message: ToRunner) -> None:
        """Tell it something; harmless when it is gone."""
        self._write(codec.encode(message))

    def kill(self) -> None:
        """End it at once."""
        self._killed = True
        self._process.kill()

    @property
    def stopped(self) -> bool:
        """See `Runner.stopped`."""
        return is_stopped(self.pid)

    def _write(self, line: bytes) -> None:
        try:
            self._control.sendall(line + b"\n")
        except OSError:  # it has died: `exited` is on its way and says why
            return

    def _read_errors(self) -> None:
        assert self._process.stderr is not None
        for raw in _lines(self._process.stderr):
            line = cleaned(raw.decode(errors="replace").rstrip())
            self._last_lines.append(line)
            if line:
                log.info(f"{self._model}: the runner says: {line}", model=self._model)

    def _read_control(self) -> None:
        with self._control.makefile("rb") as lines:
            try:
                for line in _lines(lines):
                    self._heard(line)
            except OSError:  # reset: it died in the middle of a line
                pass
        status = self._process.wait()
        self._errors.join(timeout=1)
        self._control.close()
        reason, detail = explain(status, list(self._last_lines), self._new_oom_kills(), by_us=self._killed)
        if status:
            last = " | ".join(filter(None, self._last_lines))[-LAST_CHARS:]
            log.info(f"{self._model}: a runner's process ended", model=self._model, pid=self.pid, last=last or None)
        self._post(lambda: self._listener.exited(reason, detail))

    def _new_oom_kills(self) -> int:
        now = oom_kills()
        return 0 if now is None or self._oom_kills is None else now - self._oom_kills

    def _heard(self, line: bytes) -> None:
        try:
            message: FromRunner = codec.decode(line, FromRunner)  # type: ignore[arg-type]
        except WireError:  # a runner that talks nonsense is as broken as one that crashes
            self.kill()
            return
        self._post(lambda: self._listener.received(_cleaned(message)))


def _cleaned(message: FromRunner) -> FromRunner:
    """A message, with what a runtime or a model may have put into its text made harmless."""
    match message:
        case Refused():
            return replace(message, code=cleaned(message.code), detail=cleaned(message.detail))
        case Loaded():
            names = {name: cleaned(getattr(message, name)) for name in ("engine", "engine_version", "delegate")}
            return replace(message, **names)
    return message


def _lines(stream: IO[bytes]) -> Iterator[bytes]:
    """The lines of a child, long ones in pieces, so that the supervisor's memory stays bounded."""
    return iter(lambda: stream.readline(MAX_MESSAGE_BYTES), b"")


class _NotStarted:
    """A runner that the kernel could not start, for want of memory or processes: its exit is reported at once."""

    pid = 0
    stopped = False

    def __init__(self, listener: RunnerListener, post: Post, error: OSError) -> None:
        post(lambda: listener.exited("not_started", error.strerror or str(error)))

    def send(self, message: ToRunner) -> None:
        """Nothing: there is no process."""

    def kill(self) -> None:
        """Nothing: there is no process."""


class RealProcesses:
    """The `Processes` port over real child processes."""

    look_timeout_s = LOOK_TIMEOUT_S

    def __init__(self, post: Post, trust_file: Path, state: Path) -> None:
        self._post = post
        self._updater = [sys.executable, "-m", "skerry_agent.updater", str(trust_file), str(state), str(os.getpid())]

    def start_runner(self, job: Job, listener: RunnerListener) -> Runner:
        """Start a runner. Where the kernel refuses, `listener.exited` is called."""
        try:
            return RunnerProcess(job, listener, self._post)
        except OSError as error:
            return _NotStarted(listener, self._post, error)

    def run_updater(self, job: UpdaterJob, answer: Callable[[Answer], None]) -> Callable[[], None]:
        """Run one updater at a low priority, so that the model in service keeps the processor."""
        cancelled = threading.Event()

        def tell(result: Answer) -> None:
            self._post(lambda: None if cancelled.is_set() else answer(result))

        try:
            process = subprocess.Popen(
                self._updater, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
            )
        except OSError as error:
            tell(Refusal("crashed", "updater_not_started", error.strerror or str(error)))
            return cancelled.set
        os.setpriority(os.PRIO_PROCESS, process.pid, 10)

        def wait() -> None:
            tell(_converse(process, codec.encode(job) + b"\n"))

        def cancel() -> None:
            cancelled.set()
            process.kill()

        try:
            threading.Thread(target=wait, daemon=True).start()
        except RuntimeError:
            _give_up(process)
            tell(Refusal("crashed", "updater_not_started", str(_no_thread().strerror)))
        return cancel

    def look_at_accelerator(self, answer: Callable[[AcceleratorLook], None]) -> None:
        """Ask libedgetpu in a process that may crash, and is not waited for where it hangs."""

        def ask() -> None:
            found = _look(self.look_timeout_s)
            self._post(lambda: answer(found))

        try:
            threading.Thread(target=ask, daemon=True).start()
        except RuntimeError:
            answer(AcceleratorLook(problem="no_accelerator", detail=str(_no_thread().strerror)))


def _look(timeout_s: float) -> AcceleratorLook:
    command = [sys.executable, "-m", "skerry_agent.runner.engines.tpu_look", str(os.getpid())]
    try:
        done = run_bounded(command, timeout_s)
    except subprocess.TimeoutExpired:
        words = f"the Edge TPU did not answer within {timeout_s:.0f} s"
        return AcceleratorLook(problem="device_silent", detail=words)
    except OSError as error:
        return AcceleratorLook(problem="no_accelerator", detail=error.strerror or str(error))
    if done.returncode < 0:
        words = f"libedgetpu crashes as it looks for devices (signal {-done.returncode})"
        return AcceleratorLook(problem="driver_crashes", detail=words)
    try:
        found = codec.decode(done.stdout.encode(), AcceleratorLook)
    except WireError:
        return AcceleratorLook(problem="no_accelerator", detail=cleaned(done.stderr.strip()[-LAST_CHARS:]))
    return replace(found, detail=cleaned(found.detail))


def _no_thread() -> OSError:
    """What the kernel meant when Python can start no thread: threads are counted as processes are."""
    return OSError(errno.EAGAIN, "no thread can be started")


def _give_up(process: subprocess.Popen[bytes]) -> None:
    """End a process that nobody would hear."""
    process.kill()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(1)
    for stream in filter(None, (process.stdin, process.stdout, process.stderr)):
        stream.close()


def _clean(answer: Answer) -> Answer:
    """What a message or a file may have put into the text of a refusal is made harmless."""
    match answer:
        case Refusal():
            return replace(answer, detail=cleaned(answer.detail))
        case Verified():
            return Verified(tuple(map(_clean, answer.answers)))  # type: ignore[arg-type]
    return answer


def _converse(process: subprocess.Popen[bytes], job: bytes) -> Answer:
    try:
        output, errors = process.communicate(job, timeout=UPDATER_TIMEOUT_S)
        for line in errors.decode(errors="replace").splitlines()[-LAST_LINES:]:
            log.info(f"the updater says: {cleaned(line)}")
        answer: Answer = codec.decode(output, Answer, MAX_LINE_BYTES)  # type: ignore[arg-type]
        return _clean(answer)
    except subprocess.TimeoutExpired:
        process.kill()  # and not waited for: one that is stuck in the kernel would never end
        return Refusal("crashed", "updater_timeout", f"no answer within {UPDATER_TIMEOUT_S} s")
    except WireError:
        _, detail = explain(process.returncode, [])
        return Refusal("crashed", "updater_died", detail)
