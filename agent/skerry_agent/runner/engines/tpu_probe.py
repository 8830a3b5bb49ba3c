"""Tries an Edge TPU in a child process, with the model that is to run, so that a crash ends only that process.

A libedgetpu that was built for another TFLite release crashes the process, not when it is loaded but when a compiled
model is (github.com/google-coral/edgetpu issue 812, tensorflow/tensorflow issue 62371). So the child finds and opens a
device, loads the model and runs it once. Every failure has a code of `wire.accelerators`: the file's hash is known to
be right, so it is this device that cannot run it, and its release has a cpu bundle. Not run on hardware.

    child sends  Found         the devices; nothing follows if they do not suffice
                 Opened        a device could be opened
                 (exit 0)      the model ran; exit 1 with one line on standard error if not
"""

import importlib
import os
import re
import subprocess
import sys
import time
from typing import Any

import msgspec
from msgspec import Struct

from skerry_agent.ports.bounded import run_bounded
from skerry_agent.ports.lifetime import die_with_parent
from skerry_agent.runner.engines import coral, tflite, tpu
from skerry_agent.runner.engines.base import ModelFile
from skerry_agent.runner.errors import EngineError, InferenceError
from skerry_agent.runner.tensor import zeros
from skerry_agent.wire.accelerators import PROBLEMS, library_for

TIMEOUT_S = 30.0
DEVICE_WAIT_S = 3.0
"""A USB Accelerator leaves the bus and comes back when it gets its firmware; at boot it may come after the agent."""
_PAUSE_S = 0.2
_TOO_NEW = re.compile(r"requires runtime version \((\d+)\).*this runtime version \((\d+)\)")
"""The driver's own words about a model that was compiled for a newer one."""
_MAX_WORDS = 300


class ProbeRequest(Struct, frozen=True):
    """What to try: an interpreter module, libedgetpu's file, and the model; without one the child only looks.

    `wait_s` is for how long a device that is not there is waited for.
    """

    module: str
    library: str = tpu.LIBRARY
    model: ModelFile | None = None
    wait_s: float = 0.0


class Opened(Struct, frozen=True, tag="opened"):
    """The device at this place of the list is free."""

    index: int


class UsableDevice(Struct, frozen=True):
    """The model ran on a device of these."""

    found: tpu.Found
    index: int

    @property
    def device(self) -> str:
        """Where it ran."""
        return self.found.devices[self.index]


def find_devices(request: ProbeRequest, timeout_s: float = TIMEOUT_S) -> tpu.Found:
    """What there is, one device at least; opens none. Raises `EngineError` with a code of `wire.accelerators`."""
    found, _, _ = _ask(msgspec.structs.replace(request, model=None), timeout_s)
    return found


def probe(request: ProbeRequest, timeout_s: float = TIMEOUT_S) -> UsableDevice:
    """Run the model once on the first device that is free.

    Raises `EngineError` that says why this process must not try, with a code of `wire.accelerators`.
    """
    assert request.model is not None
    found, opened, words = _ask(request, timeout_s)
    need = request.model.min_edgetpu_runtime
    if need is not None and found.runtime is not None and need > found.runtime:
        raise too_new(need, found.runtime)
    said = _TOO_NEW.search(words)
    if said:
        raise too_new(int(said[1]), int(said[2]))
    if opened is None:
        raise unusable("device_busy", f"no Edge TPU can be opened through {found.driver}: {words}")
    if words:
        raise unusable(
            "driver_for_other_tflite", f"the Edge TPU does not run the model: {words}", package=_take(request)
        )
    return UsableDevice(found, opened.index)


def open_again(usable: UsableDevice, request: ProbeRequest) -> Any:
    """The delegate of the device that the child has just left. Raises `ValueError` when it stays in use or away."""
    name = usable.found.driver
    driver = coral.Pycoral() if name == coral.Pycoral.name else tpu.Library(name, request.module)
    end = time.monotonic() + request.wait_s
    while True:
        try:
            return driver.delegate(usable.index)
        except ValueError:
            if time.monotonic() > end:
                raise
            time.sleep(_PAUSE_S)


def unusable(code: str, what: str, **of_hint: object) -> EngineError:
    """The accelerator cannot be used, so that the device goes on with the release's cpu bundle; `code` says why."""
    return EngineError(what, hint=PROBLEMS[code].format(**of_hint), code=code)


def too_new(need: int, have: int) -> EngineError:
    """The model asks for more than the driver offers."""
    what = f"the model is compiled for Edge TPU runtime {need}, this device's libedgetpu has {have}"
    return unusable("driver_too_old", what, have=have)


def _ask(request: ProbeRequest, timeout_s: float) -> tuple[tpu.Found, Opened | None, str]:
    """(what there is, what was opened, the one line of a failure) of a child that did not die."""
    command = [sys.executable, "-m", __name__, msgspec.json.encode(request).decode(), str(os.getpid())]
    try:
        child = run_bounded(command, timeout_s)
    except subprocess.TimeoutExpired:
        raise unusable("device_silent", f"the Edge TPU did not answer within {timeout_s:.0f} s") from None
    said = [line for line in child.stdout.splitlines() if line.startswith("{")]
    if child.returncode < 0:
        raise _crashed(request, -child.returncode, opened=len(said) > 1)
    words = _words(child)
    if not said:
        raise _not_loaded(request, words)
    found = msgspec.json.decode(said[0], type=tpu.Found)
    if not found.devices:
        raise unusable(*tpu.absence())
    return found, msgspec.json.decode(said[1], type=Opened) if said[1:] else None, words


def _crashed(request: ProbeRequest, signal: int, *, opened: bool) -> EngineError:
    """One that was built for another TFLite crashes as a model is loaded, when it has opened a device; not before."""
    code = "driver_for_other_tflite" if opened else "driver_crashes"
    moment = "as a model is loaded" if opened else "as it looks for devices"
    what = f"{request.library} crashes with {_package(request)} (signal {signal}) {moment}"
    return unusable(code, what, package=_take(request))


def _not_loaded(request: ProbeRequest, words: str) -> EngineError:
    what = f"cannot look for an Edge TPU: {words}"
    code, lacking = tpu.not_loaded(words, request.library)
    if lacking:
        return unusable(code, f"{what}, which {request.library} needs", package=lacking)
    return unusable(code, what, package=_take(request))


def _take(request: ProbeRequest) -> str:
    """The package of libedgetpu for the runtime that is here."""
    distribution = _package(request).replace("_", "-")
    version = getattr(importlib.import_module(_package(request)), "__version__", "")
    return library_for(distribution, str(version))


def _words(child: subprocess.CompletedProcess[str]) -> str:
    """Why the child gave up; empty when it did not."""
    if child.returncode == 0:
        return ""
    lines = [line for line in child.stderr.splitlines() if line.strip()]
    return lines[-1][:_MAX_WORDS] if lines else f"exit {child.returncode}"


def _package(request: ProbeRequest) -> str:
    return request.module.partition(".")[0]


# -- in the child ------------------------------------------------------------------------------------------------------


def _child(request: ProbeRequest) -> None:
    """Look, open, load, run; says each on a line, so that it is known how far it came."""
    driver = _driver(request)
    found, end = driver.find_devices(), time.monotonic() + request.wait_s
    while not found.devices and time.monotonic() < end:
        time.sleep(_PAUSE_S)
        found = driver.find_devices()
    _say(found)
    model = request.model
    if model is None or not found.devices or (model.min_edgetpu_runtime or 0) > (found.runtime or 99):
        return
    index, delegate = _first_free(driver, len(found.devices))
    _say(Opened(index))
    engine = tflite.open_tflite(importlib.import_module(request.module), model, [delegate], found.about)
    engine.infer([zeros(spec) for spec in engine.inputs])


def _driver(request: ProbeRequest) -> tpu.Driver:
    """Google's pycoral where it can be imported, else the library."""
    if coral.installed() == "google":
        try:
            return coral.Pycoral()
        except ImportError as error:  # built for another Python
            print(f"pycoral is not used: {tflite.one_line(error)}", file=sys.stderr)  # noqa: T201
    return tpu.Library(request.library, request.module)


def _first_free(driver: tpu.Driver, count: int) -> tuple[int, Any]:
    """(place in the list, delegate) of the first device that can be opened. Raises the last one's `ValueError`."""
    for index in range(count - 1):
        try:
            return index, driver.delegate(index)
        except ValueError as error:
            print(tflite.one_line(error), file=sys.stderr)  # noqa: T201 - the parent shows the last line
    return count - 1, driver.delegate(count - 1)


def _say(message: Struct) -> None:
    print(msgspec.json.encode(message).decode(), flush=True)  # noqa: T201 - the protocol


if __name__ == "__main__":
    die_with_parent(int(sys.argv[2]))
    try:
        _child(msgspec.json.decode(sys.argv[1], type=ProbeRequest))
    except (OSError, ValueError, RuntimeError, ImportError, EngineError, InferenceError) as error:
        sys.exit(tflite.one_line(error))
