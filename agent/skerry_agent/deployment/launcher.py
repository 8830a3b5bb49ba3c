"""Starts the runners of one model, and tells whether an accelerator that only one process can use is free.

Decides neither when to start nor what to do about a failure: `unit` and `trial` do.
"""

import socket
from typing import IO

from msgspec import Struct

from skerry_agent import log
from skerry_agent.deployment.context import DeviceContext
from skerry_agent.deployment.service import Service, ServiceCallbacks
from skerry_agent.machine.records import Slot
from skerry_agent.ports.runner_protocol import Job
from skerry_agent.state.disk import DiskError
from skerry_agent.wire.targets import TARGETS

EXCLUSIVE_POLL_S = 0.1


class Listeners(Struct, frozen=True):
    """The listening sockets that every runner of a model inherits, and the memory file of its clients' regions.

    `tls`: runners speak TLS on the TCP socket.
    """

    tcp: socket.socket | None = None
    unix: socket.socket | None = None
    regions: IO[bytes] | None = None
    tls: bool = False


class Launcher:
    """Starts a service for a slot, and stops services."""

    def __init__(self, model: str, context: DeviceContext, listeners: Listeners) -> None:
        self._model, self._context, self._listeners = model, context, listeners
        self._services: list[Service] = []

    def job(self, slot: Slot, *, committed: bool) -> Job:
        """What a runner of a slot is told now; `committed` says that the slot is the current one.

        Raises `DiskError` when its bundle cannot be read, or a candidate's runtime is not there.
        """
        config = self._context.config
        section = config.model(self._model)
        return Job(
            model=self._model,
            release=slot.release,
            bundle_dir=str(self._context.folders.folder(slot.bundle)),
            bundle=self._context.folders.read(slot),
            engine=config.engine_for(slot.target),
            threads=config.board.usable_threads,
            listen_fd=_file(self._listeners.tcp),
            unix_fd=_file(self._listeners.unix),
            regions_fd=_file(self._listeners.regions),
            sources=config.sources(self._model),
            results_file=config.results_file(self._model),
            beat_s=config.agent.beat_s,
            memory_limit_bytes=section.memory_limit_bytes,
            results_file_bytes=section.results_file_bytes,
            results_files=section.results_files,
            results_rate_hz=section.results_mqtt_rate_hz if section.results_mqtt else 0.0,
            api_values=section.api_values,
            committed=committed,
            api=config.api_access(self._model),
            runtime_dir=self._runtime_dir(slot, committed=committed),
        )

    def start(self, slot: Slot, callbacks: ServiceCallbacks, *, committed: bool) -> Service:
        """Start a runner with that. Raises `DiskError` as `job` does."""
        job, config = self.job(slot, committed=committed), self._context.config
        log.info(f"{self._model}: a runner starts", model=self._model, release=slot.release, engine=job.engine)
        service = Service(job, self._context.processes, self._context.clock, config.agent, callbacks)
        service.exclusive, service.stuck_changed = exclusive(slot), self._context.changed
        self._services = [*(each for each in self._services if not each.gone), service]
        service.result = lambda result: self._context.result(self._model, result)
        return service

    def _runtime_dir(self, slot: Slot, *, committed: bool) -> str:
        """The folder of a slot's runtime, empty for the base environment's.

        That one stands in where a committed slot's runtime is gone: golden inputs tell whether the model runs with it.
        """
        runtimes = self._context.runtimes
        if slot.runtime is None:
            return ""
        if runtimes.usable(slot.runtime):
            return str(runtimes.folder(slot.runtime))
        if committed:
            return ""
        raise DiskError(f"its runtime {slot.runtime.name} is not here", hint="order it again", code="runtime_gone")

    def listen_on(self, listeners: Listeners) -> None:
        """Runners that start from now on inherit these sockets."""
        self._listeners = listeners

    def stop(self, service: Service) -> None:
        """Let a service end; until it has left, it may hold the accelerator."""
        service.stop()

    def must_wait(self, slot: Slot) -> bool:
        """An accelerator that admits one process is free only when the runners before have left."""
        return exclusive(slot) and any(not each.gone and each.exclusive for each in self._services)

    def hung(self, slot: Slot) -> str | None:
        """Why the accelerator that a slot needs will not be free: a runner that cannot be ended holds it."""
        stuck = [each for each in self.stuck if exclusive(slot) and each.exclusive]
        return stuck[0].stuck_detail if stuck else None

    @property
    def stuck(self) -> list[Service]:
        """Runners that were killed and do not end. None is started beside one that holds the accelerator."""
        return [each for each in self._services if each.stuck]


def _file(inherited: socket.socket | IO[bytes] | None) -> int | None:
    return inherited.fileno() if inherited is not None else None


def exclusive(slot: Slot) -> bool:
    """Whether the accelerator admits one process only, so that the old runner must stop first."""
    return TARGETS[slot.target].exclusive


def unusable(error: DiskError) -> str:
    """The reason of a failure: damage is final, a disk that did not answer may answer the next time."""
    return "bundle_unreadable" if error.code == "unreadable_record" else "bundle_damaged"
