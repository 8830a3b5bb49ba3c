"""A build's bundle served in this process, as a runner serves it, on a port of its own."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from skerry_agent.ports.runner_protocol import Job
from skerry_agent.runner.http.routes import Routes
from skerry_agent.runner.http.served import served_of
from skerry_agent.runner.http.server import Server
from skerry_agent.runner.session import open_job
from skerry_agent.runner.validation import load
from skerry_agent.wire.manifest import Bundle
from skerry_agent.wire.targets import TARGETS


def job_of(folder: Path, bundle: Bundle, name: str, **more) -> Job:
    """A runner's job for a bundle whose files are in `folder`."""
    engine = TARGETS[bundle.target].engine or "litert"
    return Job(name, f"{name}@1.0.0", str(folder), bundle, engine=engine, **more)


@contextmanager
def routes_of(job: Job) -> Iterator[Routes]:
    """The routes of a job, for requests without a socket."""
    yield Routes(served_of(job, None), load(job, open_job), lambda: True)


@contextmanager
def serving(job: Job) -> Iterator[str]:
    """Serve a job; gives `127.0.0.1:port`."""
    inference = load(job, open_job)
    served = served_of(job, None)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        copy = socket.socket(fileno=os.dup(listener.fileno()))
        server = Server([copy], lambda ready: Routes(served, inference, ready))
        server.start()
        try:
            yield f"127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.drain(0.0)
            copy.close()
