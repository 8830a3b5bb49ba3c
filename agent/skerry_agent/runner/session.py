"""The life cycle of a runner: read the job, load, validate, then serve and drain on command, any number of times.

Each step ends in a message of `skerry_agent.ports.runner_protocol`. The model is in `inference`, its clients in `http`.
"""

import contextlib
import logging
import math
import os
import socket
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from skerry_agent.ports.runner_protocol import (
    Accept,
    Accepting,
    DirectorySource,
    Drain,
    Drained,
    Exercise,
    Heartbeat,
    InputSourceSpec,
    Job,
    Loaded,
    Refused,
)
from skerry_agent.runner import engines, process
from skerry_agent.runner.artifact import open_checked
from skerry_agent.runner.control import Control
from skerry_agent.runner.engines import Engine
from skerry_agent.runner.errors import EngineError, UnfitError
from skerry_agent.runner.exercise import ExercisePlan, GoldenExercise, InputSource, blank_samples
from skerry_agent.runner.golden import GoldenSamples
from skerry_agent.runner.inference import Inference, InferenceCounts
from skerry_agent.runner.results import Results
from skerry_agent.runner.source_thread import KeptSource, SourceIssues, SourceThread, stop_all
from skerry_agent.runner.validation import Open, Validated, load, read_golden, validate, warm_unproven
from skerry_agent.wire.errors import WireError

if TYPE_CHECKING:
    from skerry_agent.runner.http.server import Handler

_LOG = logging.getLogger(__name__)
EXIT_REFUSED = 3
EXIT_ORPHANED = 4
STOOD_STILL_S = 2.0
"""A heartbeat that is so late was held up by no inference: it has a thread of its own."""
SPARE_S = 5.0
"""How much longer than a probation an exercise goes on that nobody ends."""


def open_job(job: Job) -> Engine:
    """The engine of a job, loaded with its checked model file. Raises `EngineError`, `WireError`, `OSError`."""
    with open_checked(job, job.bundle.model) as path:
        model = engines.ModelFile(path, job.threads, job.bundle.min_edgetpu_runtime, job.bundle.model.name)
        return engines.open_engine(job.engine, model)


def run(control: Control, open_engine: Open = open_job) -> int:
    """Run until told to stop; returns an exit status when the model is refused or there is no supervisor."""
    try:
        job = control.read_job()
    except EOFError:
        return EXIT_ORPHANED
    except WireError as error:
        control.send(Refused("load_failed", str(error)))
        return EXIT_REFUSED
    if job.memory_limit_bytes is not None:
        process.limit_memory(job.memory_limit_bytes)
    heartbeats = HeartbeatMaker(job.beat_s)
    control.start(heartbeats.next, job.beat_s)
    try:
        session = _prepare(job, control, heartbeats, open_engine)
    except UnfitError as refusal:
        control.send(Refused(refusal.code, str(refusal)))
        return EXIT_REFUSED
    return session.obey()


def _prepare(job: Job, control: Control, heartbeats: "HeartbeatMaker", open_engine: Open) -> "Session":
    """Load, validate, and say so. Raises `UnfitError`."""
    began = time.perf_counter()
    inference = heartbeats.inference = load(job, open_engine)
    inference.lost = lambda error: _leave(control, error)
    load_us, about = (time.perf_counter() - began) * 1e6, inference.about
    control.send(Loaded(load_us, process.rss_bytes(), about.name, about.version, about.delegate))
    session = Session(job, control, inference, heartbeats.issues)
    validated = _validated(job, inference, heartbeats.issues)
    session.remembers = validated.remembers
    process.trim()
    with contextlib.suppress(OSError):  # the file may be gone: what is loaded stays
        process.drop_pages(Path(job.bundle_dir) / job.bundle.model.name)
    session.opened = heartbeats.count_cpu_from_now
    session.opened()
    control.send(validated.ready)
    return session


def _validated(job: Job, inference: Inference, issues: SourceIssues) -> Validated:
    """Golden inputs prove a candidate; what is committed was proven, and serves without them. Raises `UnfitError`."""
    try:
        golden = read_golden(job)
    except UnfitError as error:
        if not job.committed:
            raise
        line = f"{error}; {job.release} was proven before and serves, unproven now, until another release replaces it"
        issues.put("golden file", line, code="golden_damaged")
        return warm_unproven(inference)
    return validate(job, inference, golden)


def _leave(control: Control, error: EngineError) -> NoReturn:
    """Refuse and end, from the thread that finds the runtime unusable."""
    control.send(Refused(error.code, str(error)))
    sys.stderr.flush()
    os._exit(EXIT_REFUSED)


class HeartbeatMaker:
    """Makes the heartbeats; before a model is loaded they say only that the process lives."""

    def __init__(self, beat_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.inference: Inference | None = None
        self.issues = SourceIssues()
        self._beat_s, self._clock = beat_s, clock
        self._at = self._ran_since = clock()
        self._cpu_s, self._waited_s = time.process_time(), process.waited_s()

    def count_cpu_from_now(self) -> None:
        """What it took to load, to validate and to open is no inference's: the next heartbeat does not count it."""
        self._cpu_s = time.process_time()

    def _busy_s(self) -> float:
        """Without the time before this process stood still: no thread ran then, and no inference hangs for that."""
        before, self._at = self._at, self._clock()
        if self._at - before > self._beat_s + STOOD_STILL_S:
            self._ran_since = self._at
        busy_s = self.inference.busy_s if self.inference is not None else 0.0
        return min(busy_s, self._at - self._ran_since)

    def next(self) -> Heartbeat:
        """What happened since the last heartbeat."""
        before, self._cpu_s = self._cpu_s, time.process_time()
        waited_before, self._waited_s = self._waited_s, process.waited_s()
        counts = self.inference.take() if self.inference is not None else InferenceCounts()
        return Heartbeat(
            inferences=counts.inferences,
            errors=counts.errors,
            invalid_outputs=counts.invalid_outputs,
            dropped=counts.dropped,
            latency=counts.latency,
            busy_s=self._busy_s(),
            rss_bytes=process.rss_bytes(),
            cpu_s=self._cpu_s - before,
            outputs=counts.outputs,
            input_errors=counts.input_errors,
            source_issues=self.issues.lines,
            exercised=counts.exercised,
            judged=counts.judged,
            positives=counts.positives,
            waited_s=max(0.0, self._waited_s - waited_before),
        )


class Session:
    """A model that is ready, and serves when told to. `opened` is called when all is there to serve with."""

    def __init__(self, job: Job, control: Control, inference: Inference, issues: SourceIssues) -> None:
        self.opened: Callable[[], None] = _nothing
        self._job = job
        self._control = control
        self._inference = inference
        self._issues = issues
        self._sources = _sources(job, control, inference, issues) if job.sources else []
        self._running: list[SourceThread] = []
        self._exercise: SourceThread | None = None
        self._stop_serving: Callable[[float], None] | None = None
        self.remembers = False

    def obey(self) -> int:
        """Follow commands for ever; `Control` ends the process."""
        while True:
            match self._control.commands.get():
                case Accept(exercise_hz=rate):
                    self._accept()
                    self._set_exercise(rate, as_load=True)
                    self._control.send(Accepting())
                case Exercise(rate_hz=rate):
                    self._set_exercise(rate)
                case Drain(grace_s=grace):
                    self._drain(grace)

    def _accept(self) -> None:
        """Serve from now on; harmless when it does."""
        if self._stop_serving is None:
            self._stop_serving = self._open_http()
            self.opened()
            self._running = [SourceThread(source) for source in self._sources]

    def _drain(self, grace_s: float) -> None:
        self._set_exercise(0.0)
        stop_all(self._running)
        self._running = []
        if self._stop_serving is not None:
            self._stop_serving(grace_s)
            self._stop_serving = None
        self._control.send(Drained())

    def _set_exercise(self, rate_hz: float, *, as_load: bool = False) -> None:
        """Begin it, change its rate, or end it with a rate of 0; the golden inputs are in memory only meanwhile."""
        if self._exercise is not None:
            self._exercise.stop()
            self._exercise = None
        if rate_hz <= 0:
            return
        golden, bundle = self._golden(), self._job.bundle
        plan = ExercisePlan(
            rate_hz,
            limits=None if golden is None or self.remembers else bundle.golden,
            as_load=as_load,
            at_most_s=bundle.probation.max_seconds + SPARE_S if as_load else math.inf,
            remembers=self.remembers,
        )
        samples = golden if golden is not None else blank_samples(self._inference)
        self._exercise = SourceThread(GoldenExercise(samples, self._inference, plan))

    def _golden(self) -> GoldenSamples | None:
        """The golden inputs again; None where the disk does not give back what was validated: no fault of the model."""
        try:
            return read_golden(self._job)
        except UnfitError as error:
            _LOG.warning("exercised with zeros: %s", error)
            return None

    def _open_http(self) -> Callable[[float], None]:
        """Serve the inference API; returns what drains it."""
        job = self._job
        files = [file for file in (job.listen_fd, job.unix_fd) if file is not None]
        if not files:
            return lambda _grace_s: None
        from skerry_agent.runner.http.routes import Routes  # noqa: PLC0415 - costs memory that not every runner needs
        from skerry_agent.runner.http.served import served_of  # noqa: PLC0415
        from skerry_agent.runner.http.server import Server  # noqa: PLC0415
        from skerry_agent.runner.http.shared_memory import Regions  # noqa: PLC0415

        regions = Regions(job.regions_fd) if job.regions_fd is not None else None
        listeners = [socket.socket(fileno=os.dup(file)) for file in files]
        inference = self._inference
        served = served_of(job, regions)
        guard, wrap = self._access()
        server = Server(listeners, lambda ready: guard(Routes(served, inference, ready)), wrap=wrap)
        server.start()

        def drain(grace_s: float) -> None:
            server.drain(grace_s)
            for listener in listeners:
                listener.close()

        return drain

    def _access(self) -> "tuple[Callable[[Handler], Handler], Callable[[socket.socket], socket.socket] | None]":
        """What stands before the routes, and before the connections, of those who come over TCP."""
        access, model = self._job.api, self._job.model
        if access is None:
            return lambda routes: routes, None
        from skerry_agent.runner.http.guard import Guard  # noqa: PLC0415 - as above

        wrap = None
        if access.tls_cert and access.tls_key:
            from skerry_agent.runner.http.tls import Tls  # noqa: PLC0415 - imports ssl

            wrap = Tls(Path(access.tls_cert), Path(access.tls_key), self._api_issue("certificate")).wrap
        return lambda routes: Guard(routes, access, model, self._api_issue("token")), wrap

    def _api_issue(self, what: str) -> Callable[[str | None], None]:
        def say(line: str | None) -> None:
            if line is None:
                self._issues.clear(what)
            else:
                self._issues.put(what, line, "api_failed")

        return say


def _nothing() -> None:
    """Nobody wants to know."""


def _sources(job: Job, control: Control, inference: Inference, issues: SourceIssues) -> list[KeptSource]:
    """The sources of a job, which are opened once they run. What cannot feed this model is an issue."""
    for spec in job.sources:
        if isinstance(spec, DirectorySource):  # whoever writes into it may begin as soon as the model serves
            with contextlib.suppress(OSError):
                Path(spec.path).mkdir(parents=True, exist_ok=True)
    results = Results(job, control.send, issues)
    opening = partial(_open, job, inference, issues, results)
    return [KeptSource(spec.label, partial(opening, spec), issues) for spec in job.sources]


def _open(job: Job, inference: Inference, issues: SourceIssues, results: Results, spec: InputSourceSpec) -> InputSource:
    """A source and what it feeds. Raises `SourceError`, and whatever the library of its kind may raise."""
    from skerry_agent.runner.feed import Feed  # noqa: PLC0415 - imports numpy, as preprocessing needs it
    from skerry_agent.runner.sources import open_source  # noqa: PLC0415

    return open_source(spec, Feed(job, inference, issues, results, spec.label))
