"""The protocol between supervisor and runner: JSON lines over one inherited socket pair. Pure.

The supervisor starts `python -m skerry_agent.runner --control-fd N` and writes a `Job` as the first line. Then:

    runner       supervisor     meaning
    Loaded                      the model is in memory
    Ready                       golden outputs match, nothing is NaN or constant, it is warm
    Refused                     the model is not fit to serve, or no longer; the runner gives the reason and exits
                 Accept         start the sources and accept connections from the shared listening socket
    Accepting                   done
                 Exercise       run golden inputs at a rate, counted apart; 0 ends that
                 Drain          stop sources and accepting, answer open requests with `Connection: close`
    Drained                     no request is open any more
    Result                      an answer for the broker, where the job asks for some
    Heartbeat                   once a second while it runs, whatever it is doing
                 Stop           exit

A runner also exits when its control socket closes: it never outlives its supervisor.

The tags on the socket keep their spelling: a package that is upgraded under a running supervisor starts newer runners.
Such a supervisor asks for the exercise in `Accept`, never ends it, and knows no count but `inferences`: so an exercise
that was asked for in that way is counted as load, and ends by itself when a probation must be over.
`Ready` is the fact that the update machine knows as `CandidateReady`.
"""

from typing import Literal

from msgspec import Raw, Struct

from skerry_agent.ports.api_access import ApiAccess
from skerry_agent.wire.engines import EngineName
from skerry_agent.wire.inputs import CameraSource, DirectorySource, InputSourceSpec, ReplaySource
from skerry_agent.wire.manifest import Bundle
from skerry_agent.wire.names import ReleaseName
from skerry_agent.wire.sketch import Sketch

__all__ = ["CameraSource", "DirectorySource", "InputSourceSpec", "ReplaySource"]


class Job(Struct, frozen=True):
    """Everything a runner needs. `listen_fd` is an inherited listening TCP socket, None to serve no HTTP.

    `unix_fd` is one on a Unix socket, and `regions_fd` a memory file in which the runners of a model keep what clients
    of that socket have registered as shared memory. `results_file` and `results_files` older ones have at most
    `results_file_bytes` each; `results_rate_hz` is how many results a second go to the supervisor at most.
    `api_values` is what tensors hold for clients that do not say. `committed`: the release is the current one of this
    device, so it was proven and serves even if the golden file that proved it has been damaged since. `api` says who
    may use the TCP socket; supervisors before it say nothing, and whoever connects may. `runtime_dir` is the folder of
    its runtime, which comes before all others on the path of its process; empty for the base environment's.
    """

    model: str
    release: ReleaseName
    bundle_dir: str
    bundle: Bundle
    engine: EngineName = "litert"
    threads: int = 1
    listen_fd: int | None = None
    unix_fd: int | None = None
    regions_fd: int | None = None
    sources: tuple[InputSourceSpec, ...] = ()
    results_file: str | None = None
    beat_s: float = 1.0
    memory_limit_bytes: int | None = None
    api_values: Literal["sample", "real", "raw"] | None = None
    results_file_bytes: int = 16 * 1024 * 1024
    results_files: int = 4
    results_rate_hz: float = 0.0
    committed: bool = False
    api: ApiAccess | None = None
    runtime_dir: str = ""

    @property
    def inherited_fds(self) -> tuple[int, ...]:
        """The descriptors that the runner's process must inherit."""
        return tuple(fd for fd in (self.listen_fd, self.unix_fd, self.regions_fd) if fd is not None)


class Loaded(Struct, frozen=True, tag="loaded"):
    """The model is in memory. `engine`, `engine_version` and `delegate` say what runs it (see `engines.base.About`)."""

    load_us: float
    rss_bytes: int
    engine: str = ""
    engine_version: str = ""
    delegate: str = ""


class Ready(Struct, frozen=True, tag="proved"):
    """Golden outputs match. `max_lsb` is the largest difference in quantized steps, `top1` the share that agrees."""

    samples: int
    max_lsb: int
    top1: float


class Refused(Struct, frozen=True, tag="refused"):
    """Not fit to serve, or no longer: an accelerator can be lost at any time.

    `code` is one of load_failed, damaged, golden_mismatch, invalid_output and constant_output, or of
    `wire.accelerators`; runners of earlier releases also say source_failed.
    """

    code: str
    detail: str


class Accepting(Struct, frozen=True, tag="accepting"):
    """It answers now."""


class Drained(Struct, frozen=True, tag="drained"):
    """No connection and no source is open any more."""


class Exercised(Struct, frozen=True):
    """The golden inputs that an `Exercise` ran. `wrong` answers are not those that were recorded; `errors` are none."""

    inferences: int = 0
    errors: int = 0
    wrong: int = 0
    latency: Sketch = Sketch()


class Heartbeat(Struct, frozen=True, tag="beat", omit_defaults=True):
    """What happened since the last heartbeat. `busy_s` is how long the inference now running has taken so far.

    `errors` are the model's own: well-formed inputs that led to no answer. `input_errors` are inputs that no model
    could have answered: damaged, of another shape, not numbers. `source_issues` are sources, results files, the
    golden file of a committed release and files of the inference API that cannot be used now, one line each that begins
    with its code, source_failed, results_failed, golden_damaged or api_failed; none is ever the release's fault.

    All counts are of real load alone; `exercised` has what golden inputs did. Of `judged` answers it was found out
    whether they are positive (see `runner.positives`), and `positives` are. `waited_s` is for how long the runner's
    first thread was ready to run and another process had the processor.
    """

    inferences: int
    errors: int
    invalid_outputs: int
    dropped: int
    latency: Sketch
    busy_s: float
    rss_bytes: int
    cpu_s: float
    outputs: dict[str, int] = {}
    input_errors: int = 0
    source_issues: tuple[str, ...] = ()
    exercised: Exercised | None = None
    judged: int = 0
    positives: int = 0
    waited_s: float = 0.0


class Result(Struct, frozen=True, tag="result"):
    """One answer to a sample of a source, as in the results file, and how many before it were left out."""

    line: Raw
    left_out: int = 0


class Accept(Struct, frozen=True, tag="accept"):
    """Start to serve. `exercise_hz` is for supervisors before `Exercise`; newer ones leave it 0."""

    exercise_hz: float = 0.0


class Exercise(Struct, frozen=True, tag="exercise"):
    """Run golden inputs at `rate_hz` where no other load comes, and count them apart; 0 ends it. No answer follows.

    `Drain` ends it, too.
    """

    rate_hz: float = 0.0


class Drain(Struct, frozen=True, tag="drain"):
    """Stop taking new work; idle kept-alive connections are closed after `grace_s`."""

    grace_s: float = 5.0


class Stop(Struct, frozen=True, tag="stop"):
    """Leave now."""


FromRunner = Loaded | Ready | Refused | Accepting | Drained | Heartbeat | Result
ToRunner = Accept | Exercise | Drain | Stop
