"""Engines that abort or leak: the runner ends, its exit says how, and its last words are on standard error."""

import signal

import pytest

from skerry_agent.ports import runner_protocol
from tests.kit.faulty_runner import FAULTY
from tests.lab.hostile import watch

_BEGIN = """import contextlib, os, resource, threading
from skerry_agent.runner.__main__ import _die_of_a_bug
threading.excepthook = _die_of_a_bug
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))

def leak():
    with contextlib.suppress(OSError):
        while True:
            os.dup(2)
"""
LEAKING = _BEGIN + FAULTY.replace("FAULT", "leak()")
"""An engine that takes every file descriptor there is, and then goes on as if nothing were wrong."""


def ends(child) -> int:
    """How it ends once it serves."""
    child.expect(runner_protocol.Loaded)
    child.expect(runner_protocol.Ready)
    child.say(runner_protocol.Accept(exercise_hz=50))
    while child.hear() is not None:
        pass
    return child.process.wait(10)


def test_an_abort_ends_only_the_runner(spawn, tiny):
    child = spawn(tiny("add"), command=("-c", FAULTY.replace("FAULT", "ctypes.CDLL(None).abort()")))
    assert ends(child) == -signal.SIGABRT


def test_a_runner_without_descriptors_ends_and_does_not_only_look_alive(spawn, tiny):
    child = spawn(tiny("add"), command=("-c", LEAKING))
    assert ends(child) > 0
    assert "Too many open files" in child.last_words()


@pytest.mark.parametrize("value", ["float('nan')", "float('inf')"])
def test_outputs_that_are_no_numbers_are_counted_in_the_heartbeat(spawn, tiny, value):
    fault = f"""import struct
            (y,) = self._engine.infer(inputs)
            return [type(y)(y.dtype, y.shape, struct.pack("4f", *4 * [{value}]))]"""
    child = spawn(tiny("add"), command=("-c", FAULTY.replace("FAULT", fault)))
    child.ready(exercise_hz=50)
    assert child.wait_for(lambda total: total.invalid_outputs > 0)


def test_malformed_models_are_refused_and_crash_nothing():
    """A third of these crashed the C API of ai-edge-litert when it read them from a file by itself."""
    counts = watch(range(7_000_000, 7_000_060))
    assert set(counts.outcomes) <= {"refused", "served"}
    assert counts.points == 60
