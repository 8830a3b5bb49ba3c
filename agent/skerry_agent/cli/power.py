"""`skerry-agent power`: a wattmeter's readings replace the board's power coefficients, or are forgotten again.

The result lies in the state folder; agent.toml is not touched. It counts from the agent's next start on. Not tried with
a wattmeter.
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from skerry_agent.config import AgentConfig
from skerry_agent.meters import calibration, procfs
from skerry_agent.meters.calibration import CalibrationError, Fit, Level, Wattmeter
from skerry_agent.state.disk import make_folder
from skerry_agent.state.power_calibration import (
    PowerCalibration,
    forget_calibration,
    read_calibration,
    write_calibration,
)
from skerry_agent.wire import codec
from skerry_agent.wire.figures import WATT_UNITS, with_uncertainty

_BURN = "import os\nwhile os.getppid() == {parent}:\n    for _ in range(1_000_000): pass"
"""Ends with the command, however that ends: a core would be hot for ever."""
LONGEST_S = 3600.0


def power(config: AgentConfig, options: argparse.Namespace) -> int:
    """Run the action; 0, or raises `CalibrationError`, `DiskError` or `OSError`."""
    if options.action == "load":
        return _load_only(options)
    if options.action == "reset":
        forgotten = forget_calibration(config.state_dir)
        return _say(options, {"reset": forgotten}, "the board's own coefficients count again" if forgotten else _NONE)
    if options.action == "show":
        known = read_calibration(config.state_dir)
        return _say(options, known, _shown(known) if known else _NONE)
    made = _calibrate(config, options)
    make_folder(config.state_dir)
    write_calibration(config.state_dir, made)
    return _say(options, made, f"{_shown(made)}\nthey count from the agent's next start on")


_NONE = "there is no calibration: the board's own coefficients count"


def _calibrate(config: AgentConfig, options: argparse.Namespace) -> PowerCalibration:
    step_w, accuracy = options.meter_step_w, options.meter_accuracy
    meter = Wattmeter(_number(step_w, "--meter-step-w"), _number(accuracy, "--meter-accuracy"))
    idle, load, cores = _levels(options)
    found = calibration.fit(idle, load, cores, meter)
    readings = f"{idle.watts:g} W idle, {load.watts:g} W with {cores:.3g} busy cores"
    return PowerCalibration(config.board.name, *_digits(found), time.strftime("%Y-%m-%d", time.gmtime()), readings)


def _digits(found: Fit) -> tuple[float, float, float]:
    """No more than the uncertainty leaves."""
    return float(f"{found.idle_w:.3g}"), float(f"{found.watts_per_core:.3g}"), float(f"{found.uncertainty:.2g}")


def _levels(options: argparse.Namespace) -> tuple[Level, Level, float]:
    cores = _cores(options)
    if options.csv is not None:
        if options.idle_w is not None or options.load_w is not None:
            raise CalibrationError("--csv and --idle-w or --load-w exclude each other")
        text = options.csv.read_text(encoding="utf-8", errors="replace")
        return *calibration.split(calibration.parse_log(text)), float(cores)
    if (options.idle_w is None) != (options.load_w is None):
        raise CalibrationError("give both --idle-w and --load-w, or neither to be asked")
    if options.idle_w is not None:
        idle, load = _number(options.idle_w, "--idle-w"), _number(options.load_w, "--load-w")
        return Level(idle), Level(load), float(cores)
    return _asked(_seconds(options), cores)


def _asked(seconds: float, cores: int) -> tuple[Level, Level, float]:
    """Wait until the meter is steady, ask; do so at idle, and under load, which goes on until the answer."""
    if not sys.stdin.isatty():
        raise CalibrationError("nobody can be asked here", hint="give --idle-w and --load-w, or --csv")
    print(f"leave the board alone for {seconds:g} s, then read the meter", file=sys.stderr, flush=True)
    time.sleep(seconds)
    idle = Level(_number(_answer("watts at idle: "), "the answer"))
    print(f"keeping {cores} cores busy, read the meter after {seconds:g} s", file=sys.stderr, flush=True)
    with _burning(cores) as busy:
        time.sleep(seconds)
        load = Level(_number(_answer("watts under load: "), "the answer"))
        return idle, load, busy()


def _answer(question: str) -> str:
    print(question, end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip()


def _load_only(options: argparse.Namespace) -> int:
    """Keep cores busy for a meter that logs, or for whoever reads it."""
    cores, seconds = _cores(options), _seconds(options)
    began = time.time()
    with _burning(cores) as busy:
        time.sleep(seconds)
        used = busy()
    said = {"began": began, "ended": time.time(), "cores": cores, "busy_cores": round(used, 3)}
    return _say(options, said, f"{used:.2f} of {cores} cores were busy for {seconds:g} s")


@contextmanager
def _burning(cores: int) -> Iterator[Callable[[], float]]:
    """Keeps cores busy; what it gives tells how many of them were, on average, so far."""
    command = [sys.executable, "-S", "-c", _BURN.format(parent=os.getpid())]
    burners = [subprocess.Popen(command) for _ in range(cores)]
    began = time.monotonic()

    def busy() -> float:
        used = [procfs.cpu_s(Path("/proc"), burner.pid) or 0.0 for burner in burners]
        return sum(used) / max(1e-9, time.monotonic() - began)

    try:
        yield busy
    finally:
        for burner in burners:
            burner.kill()
        for burner in burners:
            burner.wait()


def _cores(options: argparse.Namespace) -> int:
    """As many as were given, else those that this process may use: a container has fewer than the board."""
    usable = len(os.sched_getaffinity(0))
    text = str(usable) if options.cores is None else options.cores
    if not text.isdecimal() or not 1 <= int(text) <= usable:
        raise CalibrationError(f"--cores: {text[:40]!r} cannot be kept busy", hint=f"this process may use {usable}")
    return int(text)


def _seconds(options: argparse.Namespace) -> float:
    seconds = _number(options.seconds, "--seconds")
    if not 0 <= seconds <= LONGEST_S:
        raise CalibrationError(f"--seconds: {seconds:g} is not from 0 to {LONGEST_S:g}")
    return seconds


def _number(text: str, what: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise CalibrationError(f"{what}: {text[:40]!r} is no number", hint="write 2.1, say") from None


def _shown(known: PowerCalibration) -> str:
    idle, core = (
        with_uncertainty(value, known.uncertainty, WATT_UNITS) for value in (known.idle_w, known.watts_per_core)
    )
    return f"{known.board}: {idle} at idle and {core} for each busy core, calibrated with a wattmeter on {known.date}"


def _say(options: argparse.Namespace, result: object, text: str) -> int:
    print(codec.encode(result).decode() if options.json else text)
    return 0
