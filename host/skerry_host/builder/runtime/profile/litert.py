"""Times the kernels that LiteRT runs for a TFLite model, with the profiler of its C library, through ctypes in a child.

Kernels, not operators of the model: a delegate fuses and splits. The interface changes between versions, so only
`VERSION` is supported; a crash ends only the child. Functions: litert/c/*.h of LiteRT 2.
"""

import ctypes
import importlib.util
import re
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from importlib import metadata
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import NamedTuple

import msgspec

from skerry_host import children
from skerry_host.builder.runtime.profile.result import OpTime, Profile

VERSION = "2.3.0"
"""Of ai-edge-litert: the one whose interface this module knows."""
WINDOWS, RUNS, WARM = 25, 4, 3
"""A kernel's time is the median over windows of its mean over runs: other work on the machine comes in bursts."""
SECONDS = 60.0

_ROW = re.compile(r"^\s*(\S.*?)\s+[\d.]+\s+[\d.]+\s+[\d.]+\s+([\d.]+)%\s+[\d.]+%\s+[\d.]+\s+(\d+)\s+\S")
_TOTAL = re.compile(r"^Timings \(microseconds\):.*?\bcurr=(\d+)", re.MULTILINE)


class UnavailableError(Exception):
    """The profiler cannot be used here; the text says why."""


class Kernel(NamedTuple):
    """One kernel since the profiler's start: microseconds in all, and how often it was called."""

    name: str
    total_us: float
    calls: int


def profile_kernels(
    path: Path,
    seconds: float = SECONDS,
    *,
    python: str = sys.executable,
    installed: Callable[[str], str] = metadata.version,
) -> Profile:
    """The time of each kernel of a file that is known to run; raises `UnavailableError`.

    The child is a `python` of its own; `installed` tells the version of a package.
    """
    found = installed("ai-edge-litert")
    if found != VERSION:
        raise UnavailableError(f"LiteRT's profiler is known in ai-edge-litert {VERSION}, this is {found}")
    command = [python, "-m", "skerry_host.builder.runtime.profile.litert", str(path.absolute())]
    try:
        done = subprocess.run(
            command, env=children.environment(), capture_output=True, text=True, timeout=seconds, check=False
        )
    except subprocess.TimeoutExpired:
        raise UnavailableError(f"LiteRT's profiler timed out after {seconds:.0f} s") from None
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode < 0:
        raise UnavailableError(f"LiteRT's profiler crashes (signal {-done.returncode})")
    if done.returncode or not lines:
        last = (done.stderr.strip().splitlines() or ["no output"])[-1][:200]
        raise UnavailableError(f"LiteRT's profiler fails: {last}")
    return msgspec.json.decode(lines[-1], type=Profile)


def read_summary(text: str) -> list[Kernel]:
    """The kernels of a summary in the order of execution.

    From the shares of the total: the times themselves are printed in milliseconds with three digits.
    """
    order = text.partition("Top by Computation Time")[0]
    total = _TOTAL.search(text)
    if total is None:
        raise UnavailableError("the summary of LiteRT's profiler has another form")
    percent = int(total.group(1)) / 100
    rows = [row for line in order.splitlines() if (row := _ROW.match(line))]
    return [Kernel(row[1].removeprefix("Delegate/"), float(row[2]) * percent, int(row[3])) for row in rows]


def combined(summaries: Sequence[Sequence[Kernel]], whole_us: float) -> Profile:
    """One profile of the summaries after each window, which add up: the median over the windows.

    Raises `UnavailableError` where they do not fit together.
    """
    names = [[kernel.name for kernel in summary] for summary in summaries]
    if len(names) < 2 or not names[0] or any(other != names[0] for other in names):
        raise UnavailableError("the summary of LiteRT's profiler has no kernels, or other ones each time")
    windows = [list(map(_between, *pair)) for pair in pairwise(summaries)]
    times = [median(column) for column in zip(*windows, strict=True)]
    ops = tuple(OpTime(at, name, "", us) for at, (name, us) in enumerate(zip(names[0], times, strict=True)))
    runtime = f"ai-edge-litert {VERSION}, threads as it chooses"
    return Profile("LiteRT's profiler", runtime, WINDOWS * RUNS, whole_us, ops, of="kernels")


def _between(before: Kernel, after: Kernel) -> float:
    """Microseconds of one call between two summaries."""
    if after.calls <= before.calls:
        raise UnavailableError("the summaries of LiteRT's profiler do not add up")
    return max(0.0, after.total_us - before.total_us) / (after.calls - before.calls)


class _Library:
    """libLiteRt.so: each call returns a status, 0 for success."""

    def __init__(self) -> None:
        spec = importlib.util.find_spec("ai_edge_litert")
        if spec is None or spec.origin is None:
            raise UnavailableError("ai-edge-litert is not installed")
        self._functions = ctypes.CDLL(str(Path(spec.origin).parent / "libLiteRt.so"))

    def __call__(self, name: str, *arguments: object) -> None:
        status = getattr(self._functions, name)(*arguments)
        if status:
            raise UnavailableError(f"{name} gives status {status}")

    def made(self, name: str, *arguments: object) -> ctypes.c_void_p:
        """What a function writes through its last argument."""
        handle = ctypes.c_void_p()
        self(name, *arguments, ctypes.byref(handle))
        return handle


class _Model:
    """A compiled model with its buffers and its profiler. Nothing is given back: the process io soon."""

    def __init__(self, path: Path) -> None:
        self._call = call = _Library()
        self._environment = call.made("LiteRtCreateEnvironment", 0, None)
        model = call.made("LiteRtCreateModelFromFile", self._environment, str(path).encode())
        self._compiled = call.made("LiteRtCreateCompiledModel", self._environment, model, self._options())
        self._signature = call.made("LiteRtGetModelSignature", model, ctypes.c_size_t(0))
        self._inputs, self._outputs = self._buffers("Input"), self._buffers("Output")
        for buffer in self._inputs:
            call("LiteRtClearTensorBuffer", ctypes.c_void_p(buffer))
        self._profiler = call.made("LiteRtCompiledModelGetProfiler", self._compiled)

    def _options(self) -> ctypes.c_void_p:
        """For the CPU, with the profiler on: options are text that the library takes over and frees."""
        call, libc = self._call, ctypes.CDLL(None)
        libc.strdup.restype = ctypes.c_void_p
        options = call.made("LiteRtCreateOptions")
        call("LiteRtSetOptionsHardwareAccelerators", options, ctypes.c_int(1))
        text = ctypes.c_void_p(libc.strdup(b"enable_profiling = true\n"))
        free = ctypes.cast(libc.free, ctypes.c_void_p)
        call("LiteRtAddOpaqueOptions", options, call.made("LiteRtCreateOpaqueOptions", _RUNTIME, text, free))
        return options

    def _buffers(self, kind: str) -> "ctypes.Array[ctypes.c_void_p]":
        """A buffer for each input or output."""
        call, count = self._call, ctypes.c_size_t()
        call(f"LiteRtGetNumSignature{kind}s", self._signature, ctypes.byref(count))
        buffers = (ctypes.c_void_p * count.value)()
        for at in range(count.value):
            form = (ctypes.c_byte * 128)()  # LiteRtRankedTensorType, 72 bytes: handed on unread
            call(
                "LiteRtGetRankedTensorType",
                call.made(f"LiteRtGetSignature{kind}TensorByIndex", self._signature, at),
                form,
            )
            needs = call.made(f"LiteRtGetCompiledModel{kind}BufferRequirements", self._compiled, ctypes.c_size_t(0), at)
            made = call.made("LiteRtCreateManagedTensorBufferFromRequirements", self._environment, form, needs)
            buffers[at] = made.value
        return buffers

    def run(self) -> None:
        """One inference on zeros."""
        sizes = ctypes.c_size_t(len(self._inputs)), ctypes.c_size_t(len(self._outputs))
        io = (sizes[0], self._inputs, sizes[1], self._outputs)
        self._call("LiteRtRunCompiledModel", self._compiled, ctypes.c_size_t(0), *io)

    def window(self) -> str:
        """The profiler's summary after `RUNS` more inferences. A reset empties its buffer, not the summary."""
        call = self._call
        call("LiteRtResetProfiler", self._profiler)
        call("LiteRtStartProfiler", self._profiler)
        for _ in range(RUNS):
            self.run()
        call("LiteRtStopProfiler", self._profiler)
        words = call.made("LiteRtGetProfileSummary", self._profiler, self._compiled)
        return ctypes.string_at(words).decode("utf-8", "replace")


_RUNTIME = b"runtime_options_string"


def _child(path: Path) -> None:
    """Profile a model and print it as one line of JSON."""
    model = _Model(path)
    for _ in range(WARM):
        model.run()
    whole = median(_seconds(model.run) for _ in range(RUNS * WINDOWS)) * 1e6
    summaries = [read_summary(model.window()) for _ in range(WINDOWS + 1)]
    print(msgspec.json.encode(combined(summaries, whole)).decode(), flush=True)  # noqa: T201  (the protocol)


def _seconds(run: Callable[[], None]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


if __name__ == "__main__":
    _child(Path(sys.argv[1]))
