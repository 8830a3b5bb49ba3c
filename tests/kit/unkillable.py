"""Keeps a process from ending when it is killed, as a driver does whose process is stuck in the kernel.

A tracer that asked for it stops a process on its way out, after SIGKILL too (ptrace(2), PTRACE_O_TRACEEXIT): it runs no
code any more, cannot be killed once more, and nobody who waits for it gets an answer until the tracer goes.
"""

import subprocess
import sys
from contextlib import contextmanager

_TRACER = """
import ctypes, sys
PTRACE_SEIZE, TRACEEXIT = 0x4206, 0x40
libc = ctypes.CDLL(None, use_errno=True)
request, process = ctypes.c_long(PTRACE_SEIZE), ctypes.c_long(int(sys.argv[1]))
print(libc.ptrace(request, process, None, ctypes.c_void_p(TRACEEXIT)), ctypes.get_errno(), flush=True)
sys.stdin.read()
"""


@contextmanager
def unkillable(pid: int):
    """While this lasts, the process does not end. Raises `PermissionError` where the system forbids tracing."""
    with subprocess.Popen(
        [sys.executable, "-c", _TRACER, str(pid)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as tracer:
        assert tracer.stdin is not None
        assert tracer.stdout is not None
        result, number = tracer.stdout.readline().split()
        if result != "0":
            tracer.stdin.close()
            raise PermissionError(int(number), "this system forbids ptrace")
        try:
            yield
        finally:
            tracer.stdin.close()
