"""`python -m skerry_agent.runner --control-fd N`: started by the supervisor, never by a person."""

import os
import signal
import socket
import sys
import threading

from skerry_agent.ports.lifetime import die_with_parent
from skerry_agent.ports.runner_protocol import Refused
from skerry_agent.runner import process

EXIT_BUG = 70
NO_THREAD = "can't start new thread"
"""What Python says where the limit of processes, or memory, leaves none."""


def main() -> None:
    """Run until told to leave. Ends with `os._exit`: threads and native runtimes have nothing left to say."""
    if len(sys.argv) != 3 or sys.argv[1] != "--control-fd":  # not argparse, which costs memory for nobody
        sys.exit("usage: python -m skerry_agent.runner --control-fd N")
    control_fd = int(sys.argv[2])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in a terminal reaches the supervisor, which decides
    threading.excepthook = _die_of_a_bug
    die_with_parent()
    process.reduce_memory()
    from skerry_agent.runner import control, session  # noqa: PLC0415 - `reduce_memory` must come before the imports

    supervisor = control.Control(socket.socket(fileno=control_fd))
    try:
        status = session.run(supervisor)
    except RuntimeError as error:
        if NO_THREAD not in str(error):
            raise
        supervisor.send(Refused("not_started", "the kernel starts no more threads"))  # no model's fault
        status = session.EXIT_REFUSED
    sys.stderr.flush()
    os._exit(status)


def _die_of_a_bug(args: threading.ExceptHookArgs) -> None:
    """An unexpected error in a thread leaves a runner that only looks alive: better to end, and be started again."""
    sys.__excepthook__(args.exc_type, args.exc_value or args.exc_type(), args.exc_traceback)
    sys.stderr.flush()
    os._exit(EXIT_BUG)


if __name__ == "__main__":
    main()
