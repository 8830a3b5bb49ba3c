"""Becomes the agent that the record names, in this very process, so that systemd's main process stays what it is.

Called first of all by `skerry-agent` of the base environment. An agent that was installed later is started by exec with
its folder on PYTHONPATH, above the packages of the base environment; it does not come here again.
"""

import contextlib
import os
import re
import signal
import sys
import time
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from skerry_agent.launch.table import Trial


# ruff: noqa: PLC0415 - a device whose agent was never upgraded holds nothing of what an upgrade takes

FOLDER = "agents"
BASE_PATH = "SKERRY_BASE_PYTHONPATH"
"""What PYTHONPATH was for the base environment, in the environment of an agent that was installed later."""
CHOICE = "SKERRY_AGENT"
"""`base` here: the agent of the base environment runs, whatever the record says; for a person who repairs."""
STOP_S = 30.0
LOCK_S = 0.5
_STATE_DIR = re.compile(rb'(?m)^\s*state_dir\s*=\s*["\']([^"\'\n\0]+)["\']')
_PDEATHSIG = 1


def own_folder() -> Path:
    """Where the code that runs lies: the folder that is on the path for it."""
    return Path(__file__).resolve().parents[2]


def launch(arguments: list[str]) -> None:
    """Become the agent that is to run these arguments; returns where that is the one whose code this is.

    Whatever goes wrong here, the agent of the base environment runs.
    """
    try:
        _launch(arguments)
    except Exception as error:  # noqa: BLE001 - see above
        sys.stderr.write(f"the agent of the base environment runs, because {type(error).__name__}: {error}\n")


def _launch(arguments: list[str]) -> None:
    folder = agents_of(arguments)
    if folder is None or os.environ.get(CHOICE) == "base" or BASE_PATH in os.environ:
        return
    if arguments[:1] == ["run"] and _is_taken(folder.parent):
        return  # an agent runs there: this one will say so, and its start is no start
    from skerry_agent.launch import files, watch
    from skerry_agent.launch.table import BASE

    if arguments[:1] != ["run"]:
        agent = files.read(folder)[0].current
        if agent.folder and files.is_agent(folder / agent.folder):
            _become(folder / agent.folder, arguments)
        return
    while True:
        step = files.started(folder)
        trial, agent = step.record.trial, step.run or BASE
        if trial is None or agent != trial.agent:
            if agent.folder:
                _become(folder / agent.folder, arguments)
            return
        if _is_restarted():
            watch.beside(folder, trial)
            _become(folder / agent.folder, arguments)
            os._exit(1)  # exec was refused: the next start counts
        _stand_by(folder, trial, arguments)


def relaunch(arguments: list[str]) -> None:
    """Start anew, as the base environment's `skerry-agent` does; returns where the system refuses to.

    Its children end first: they would hold the ports that the next agent listens on.
    """
    from skerry_agent.launch.processes import end_children

    end_children()
    with contextlib.suppress(OSError):
        os.execve(sys.executable, _command(arguments), base_environment())  # noqa: S606 - no shell is wanted


def base_environment() -> dict[str, str]:
    """That in which Python finds the agent of the base environment."""
    environment = {name: value for name, value in os.environ.items() if name not in {BASE_PATH, "PYTHONPATH"}}
    path = os.environ.get(BASE_PATH if BASE_PATH in os.environ else "PYTHONPATH", "")
    return environment | ({"PYTHONPATH": path} if path else {})


def environment_of(folder: Path) -> dict[str, str]:
    """That in which Python finds the agent in a folder before that of the base environment."""
    base = base_environment()
    path = base.get("PYTHONPATH", "")
    return base | {BASE_PATH: path, "PYTHONPATH": os.pathsep.join(filter(None, (str(folder), path)))}


def agents_of(arguments: list[str]) -> Path | None:
    """The folder of agents of the device that is meant; None where no agent was ever installed."""
    config = Path(_config(arguments))
    try:
        said = _STATE_DIR.search(config.read_bytes())
    except OSError:
        said = None
    names = [os.fsdecode(said[1])] if said else [*os.environ.get("STATE_DIRECTORY", "").split(":"), "state"]
    for name in filter(None, names):
        folder = config.resolve().parent / name / FOLDER
        if any(_may_be_there(folder / copy) for copy in ("record.json", "record.second.json")):
            return folder
    return None


def _may_be_there(path: Path) -> bool:
    """One that the disk cannot tell of now is looked for again by whoever reads it."""
    try:
        return path.exists()
    except PermissionError:  # another user's: a command for people says so itself
        return False
    except OSError:
        return True


def _is_taken(state: Path) -> bool:
    """Whether an agent holds the state folder's lock; one that just ends is given a moment."""
    import fcntl

    ends = time.monotonic() + LOCK_S
    try:
        descriptor = os.open(state, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:  # whoever runs there says what is wrong
        return False
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > ends:
                    return True
                time.sleep(0.05)
            else:
                return False
    finally:
        os.close(descriptor)


def _config(arguments: list[str]) -> str:
    for index, argument in enumerate(arguments):
        if argument.startswith("--config="):
            return argument.partition("=")[2]
        if argument == "--config" and index + 1 < len(arguments):
            return arguments[index + 1]
    return "agent.toml"


def _command(arguments: list[str]) -> list[str]:
    """-P: what lies in the current folder is no part of an agent."""
    return [sys.executable, "-P", "-m", "skerry_agent", *arguments]


def _become(folder: Path, arguments: list[str]) -> None:
    """Returns only where the system refuses to."""
    with contextlib.suppress(OSError):
        os.execve(sys.executable, _command(arguments), environment_of(folder))  # noqa: S606 - no shell is wanted


def _is_restarted() -> bool:
    """Whether this is the main process of a service of systemd, which starts it again when it has ended."""
    return bool(os.environ.get("NOTIFY_SOCKET")) or os.environ.get("SYSTEMD_EXEC_PID") == str(os.getpid())


# -- without systemd ---------------------------------------------------------------------------------------------------


def _stand_by(folder: Path, trial: "Trial", arguments: list[str]) -> None:
    """Run the candidate as a child until its trial is over, however that ends; whoever is told to stop, stops."""
    stopping: list[int] = []

    def told(number: int, _frame: FrameType | None) -> None:
        stopping.append(number)

    before = [(number, signal.signal(number, told)) for number in (signal.SIGTERM, signal.SIGINT)]
    parent, child = os.getpid(), os.fork()
    if child == 0:
        for number, handler in before:
            signal.signal(number, handler)
        _die_with(parent)
        _become(folder / trial.agent.folder, arguments)
        os._exit(1)
    ended = _await(folder, trial, child, stopping)
    for number, handler in before:
        signal.signal(number, handler)
    if stopping:
        os._exit(os.waitstatus_to_exitcode(ended) if ended is not None else 1)


def _await(folder: Path, trial: "Trial", child: int, stopping: list[int]) -> int | None:
    """Its wait status, once it has ended: by itself, late, or committed, so that it goes on in this process."""
    from skerry_agent.launch import files, watch
    from skerry_agent.launch.table import Died

    ends = time.monotonic() + trial.deadline_s
    while not stopping:
        status = _waited(child, watch.POLL_S)
        if status is not None:
            with contextlib.suppress(OSError):
                files.change(folder, Died(_words(status)))
            return status
        if not watch.is_on_trial(folder, trial):
            break
        if time.monotonic() > ends:
            watch.late(folder)
            break
    return _stopped(child, told_by_terminal=signal.SIGINT in stopping)


def _stopped(child: int, *, told_by_terminal: bool) -> int | None:
    """End it in order, within a time; its wait status, None where it is stuck in the kernel."""
    status = _waited(child, 1.0) if told_by_terminal else None  # a terminal tells all processes of a command
    for number, limit_s in ((signal.SIGTERM, STOP_S), (signal.SIGKILL, 5.0)):
        if status is None:
            os.kill(child, number)
            status = _waited(child, limit_s)
    return status


def _waited(child: int, limit_s: float) -> int | None:
    """The wait status of a child that ends within a time, else None."""
    ends = time.monotonic() + limit_s
    while True:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return status
        if time.monotonic() > ends:
            return None
        time.sleep(0.05)


def _words(status: int) -> str:
    code = os.waitstatus_to_exitcode(status)
    return f"exit status {code}" if code >= 0 else f"killed by {signal.Signals(-code).name}"


def _die_with(parent: int) -> None:
    """As children of the agent do (`ports.lifetime`): a parent that is killed leaves no second agent behind."""
    import ctypes

    ctypes.CDLL(None).prctl(_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)
