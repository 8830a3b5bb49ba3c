"""The running host plane: connects broker, ingest, rollout loop and publisher, and runs them until told to stop.

Five threads besides paho's: this one runs the rollout loop, one writes device messages to the registry, one sends the
chunks that devices request, one answers boards that ask for an identity, one says that the plane runs. Everything that
must survive a restart is in the registry; this module keeps no state.
"""

import fcntl
import hashlib
import logging
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Self

from sqlalchemy.exc import OperationalError

from skerry_agent.wire import topics
from skerry_agent.wire.errors import SkerryError
from skerry_host.files import write_atomic
from skerry_host.home import Home
from skerry_host.plane.broker.broker import Broker
from skerry_host.plane.broker.connection import Connection
from skerry_host.plane.broker.link import NOBODYS_ID, Incoming, Link, Outgoing
from skerry_host.plane.broker.probe import Probe
from skerry_host.plane.delivery.answers import Answers
from skerry_host.plane.delivery.publish import MAX_RETAINED, Publisher
from skerry_host.plane.delivery.strays import Strays
from skerry_host.plane.enrolment.desk import Desk
from skerry_host.plane.enrolment.renewal import RenewalDesk, Renewals
from skerry_host.plane.enrolment.service import EnrolmentService
from skerry_host.plane.errors import BrokerError, PlaneError
from skerry_host.plane.every import Every
from skerry_host.plane.heartbeat import HeartbeatWriter
from skerry_host.plane.ingest.inbox import Inbox
from skerry_host.plane.ingest.ingest import SUBSCRIPTIONS, Ingest
from skerry_host.plane.ingest.receipts import Receipts
from skerry_host.plane.registry.database import Registry
from skerry_host.plane.registry.records import alarms, changes, devices, events, twins
from skerry_host.plane.registry.telemetry.port import Retention
from skerry_host.plane.registry.telemetry.sql import SqlTelemetry
from skerry_host.plane.rollouts.director import Director
from skerry_host.plane.rollouts.loop import RolloutLoop
from skerry_host.plane.rollouts.settings import sign_settings
from skerry_host.plane.views.counters import Counters
from skerry_host.release import keys
from skerry_host.release.store import Store
from skerry_host.text import MOST, clean

TICK_S = 0.2
PAUSE_S = 0.05
"""The shortest time between two ticks, however many messages arrive."""
BATCH = 500
GATHER_S = 0.1
"""How long messages gather before the next batch, while few come: a transaction costs more than a message."""

BATCH_BYTES = 1024 * 1024
"""Messages of so many bytes make a batch smaller: decoded they take several times their size."""

MOST_UNHEARD = 100
"""So many devices' twins are read again in a tick."""

RECONNECT_S = 10.0
KEPT = Retention()
KEEP_EVENTS_S = 365 * 24 * 3600.0
PRUNE_EVERY_S = 3600.0
UPKEEP_EVERY_S = 1.0
ALARMS_EVERY_S = 5.0
NOTE_EVERY_S = 60.0
UPKEEP_BOOTS = 10
"""So many boots' telemetry is rolled up then, each by itself: the registry is locked for some milliseconds."""

DEVICES = f"{topics.ROOT}/d/"
ORDERS = ("desired", "command")
"""How the topics end below that on which nobody but the plane should publish."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Delivery:
    """How blobs are sent: at most `retained` messages of them are retained at once, and devices request the rest.

    `http` is where devices may download them as well, if anywhere.
    """

    http: str | None = None
    retained: int = MAX_RETAINED


class Service:
    """The plane of one home over one broker; enter it, `run`, and `stop` it from anywhere."""

    def __init__(
        self,
        home: Home,
        registry: Registry,
        broker: Broker,
        delivery: Delivery = Delivery(),
        retention: Retention = KEPT,
    ) -> None:
        self._registry = registry
        self._broker = broker
        self._inbox = Inbox()
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._failure: Exception | None = None
        self._started, self._ticked = time.time(), 0.0
        self._pruning, self._keeping_up = Every(PRUNE_EVERY_S), Every(UPKEEP_EVERY_S)
        self._ending_alarms = Every(ALARMS_EVERY_S)
        self._retention = retention
        self._recalled = 0
        self._recalled_devices: set[str] = set()
        self._devices_seen = (-1, -1)
        self._noting: dict[str, Every] = {}
        store = Store(home.store)
        asked = delivery.retained == 0
        director = Director(keys.load(home.keys, "director"), store, time.time, delivery.http, asked=asked)
        self.ingest = Ingest(registry, time.time)
        self._home, self._director = home, director
        self._probe = Probe(topics.probe(_client_id(home)), self._send_probe)
        self._probed = 0
        subscriptions = (*SUBSCRIPTIONS, topics.ALL_ASKS, topics.ALL_RENEWALS, self._probe.topic)
        self.link = Link(broker.connection, _client_id(home), subscriptions, self._receive, self._inbox.has_room)
        self.link.watch((topics.ALL_DESIRED, topics.ALL_COMMANDS))
        self.answers = Answers(store, self.link.publish)
        desk = Desk(registry, home.identity, director, time.time)
        self._enrolment, self.renewals = _enrolment(broker, desk), Renewals(RenewalDesk(desk))
        self._rollout_loop = RolloutLoop(registry, director, time.time)
        self._publisher = Publisher(registry, store, self.link, time.time, self.answers.allow, delivery.retained)
        self._strays = Strays(registry, self.link, time.time)
        self._receipts = Receipts(registry, self.link, self.ingest.stored, time.time, self.ingest.trials)
        self._heartbeat = HeartbeatWriter(registry, time.time)
        self._writer = threading.Thread(target=self.guarded(self._write), name="ingest")
        self._answerer = threading.Thread(target=self.guarded(self.answers.run), name="answers")

    def run(self) -> None:
        """Run the loop until `stop`; a tick that fails for a temporary reason is tried again. A bug ends it."""
        while not self._stopping.is_set():
            try:
                self._tick()
            except (OperationalError, BrokerError, OSError) as error:
                log.warning("this tick failed and will be retried: %s", str(error).splitlines()[0])
            self._heartbeat.ticked()
            self._stopping.wait(PAUSE_S)
            self._wake.wait(TICK_S)
            self._wake.clear()
        if self._failure:
            raise self._failure

    def stop(self) -> None:
        """Make `run` return; safe from a signal handler."""
        self._stopping.set()
        self._wake.set()

    def counters(self) -> Counters:
        """What was counted since the start."""
        link = self.link
        answers = dict(self.answers.counts)
        messages = {**self.ingest.counts, "dropped": self._inbox.dropped}
        return Counters(
            messages,
            link.published_bytes,
            link.epoch,
            link.connected,
            answers,
            len(self._inbox),
            self._started,
            self._ticked,
            self.ingest.totals.snapshot(),
        )

    def _tick(self) -> None:
        began = time.time()
        if self._broker.ensure():
            log.warning("the broker had exited and was restarted")
            with self._registry.write() as session:
                twins.none_connected(session, began)
        work = (
            self._recall,
            self._recall_unheard,
            self._measure,
            self._note_unreadable,
            self._rollout_loop.tick,
            self._sign_settings,
            self._publisher.sync,
            self._strays.clear,
        )
        enrolment = (self._renew, *((self._enrolment.tick,) if self._enrolment else ()))
        upkeep = (self._keep_up, self._prune, self._end_alarms)
        run_each((self._receipts.send, *work, *enrolment, *upkeep), self._note)
        self._ticked = time.time()

    def _renew(self) -> None:
        """Whoever gets no answer, for whatever reason, asks again."""
        self.link.publish(self.renewals.work())

    def _note_unreadable(self) -> None:
        while not self.answers.unreadable.empty():
            self._publisher.undeliverable.note_unreadable(self.answers.unreadable.get())

    def _sign_settings(self) -> None:
        """Some of what people have set since; the others at once after this tick."""
        if not sign_settings(self._registry, self._director, time.time()):
            self._wake.set()

    def _prune(self) -> None:
        now = time.time()
        if self._pruning.is_due(now):
            with self._registry.write() as session:
                events.prune(session, now - KEEP_EVENTS_S)

    def _end_alarms(self) -> None:
        """End those whose cause has gone."""
        now = time.time()
        if not self._ending_alarms.is_due(now):
            return
        with self._registry.read() as session:
            over = alarms.are_over(session, now)
        if over:
            with self._registry.write() as session:
                alarms.end_quiet(session, now)

    def _note(self, error: SkerryError) -> None:
        """Once a minute for each kind of trouble: the step is tried at every tick."""
        if self._noting.setdefault(error.code, Every(NOTE_EVERY_S)).is_due(time.monotonic()):
            log.error("a step of this tick failed and is tried again: %s", clean(str(error), MOST))

    def _keep_up(self) -> None:
        """Roll up and delete some of the telemetry that is due for it."""
        now = time.time()
        if not self._keeping_up.is_due(now):
            return
        for _ in range(UPKEEP_BOOTS):
            with self._registry.write() as session:
                if not SqlTelemetry(session, self._retention).maintain(now, 1):
                    return

    def _receive(self, message: Incoming) -> None:
        """In paho's thread. What a device asks for need not be stored before it is acknowledged: it asks again."""
        kind = message.topic.rpartition("/")[2] if message.topic.startswith(DEVICES) else ""
        if not self._strays.heard(message):
            if kind == "ask":
                self.answers.take(message)
            elif kind == "renew":
                self.renewals.put(message)
            elif kind in ORDERS:
                self._publisher.tampering.heard(message)
            elif message.topic == self._probe.topic:
                self._probe.heard(message.payload)
            else:
                self._inbox.put(message)
                return
        self.link.acknowledge([message])

    def guarded(self, work: Callable[[], None]) -> Callable[[], None]:
        """The work of a thread; what ends it ends the plane."""

        def run() -> None:
            try:
                work()
            except PlaneError as error:  # no bug, and `run` says it
                self._failure = error
                self.stop()
            except Exception as error:
                self._failure = error
                self.stop()
                raise

        return run

    def _recall(self) -> None:
        """After a reconnect, read each device's retained state: RabbitMQ sends nothing retained to a wildcard.

        And that of a device that was added since: it may have been there before its record, and what it said dropped.
        """
        epoch, connected = self.link.epoch, self.link.connected
        if not connected:
            return
        with self._registry.read() as session:
            seen = changes.now(session)
            if (epoch, seen.devices, seen.removed) == (self._recalled, *self._devices_seen):
                return
            names = devices.ids(session)
        new = names - (self._recalled_devices if epoch == self._recalled else set())
        self.link.recall([say(name) for say in (topics.state, topics.reported) for name in sorted(new)])
        self._recalled, self._recalled_devices, self._devices_seen = epoch, names, (seen.devices, seen.removed)

    def _recall_unheard(self) -> None:
        """Read the retained twin of devices of which one was dropped, because they had said too much before."""
        if self.link.connected:
            names = self.ingest.limits.unheard(time.time(), MOST_UNHEARD)
            self.link.recall([say(name) for say in (topics.state, topics.reported) for name in names])

    def _measure(self) -> None:
        """After a reconnect, find out how large messages may be: the broker may be another, or set otherwise."""
        if self.link.epoch == self._probed or not self.link.connected:
            return
        limit = self._probe.measure()
        self._probed, self._publisher.undeliverable.chunk_limit = self.link.epoch, limit
        if limit is None:
            self._home.chunk_limit.unlink(missing_ok=True)
            return
        write_atomic(self._home.chunk_limit, f"{limit}\n".encode())
        advice = "raise its message limit, or serve blobs over HTTP (--blobs)"
        log.warning("the broker passes on chunks of at most %d bytes, larger ones are not sent: %s", limit, advice)

    def _send_probe(self, topic: str, payload: bytes) -> bool:
        """Also where the one before has ended the connection, once there is another."""
        ends = time.monotonic() + RECONNECT_S
        while not self.link.connected and not self._stopping.is_set() and time.monotonic() < ends:
            self._stopping.wait(PAUSE_S)
        return self.link.publish([Outgoing(topic, payload, retain=False)])

    def _write(self) -> None:
        """Write what arrives, in batches, and acknowledge it once it is safe; ends when the inbox is closed."""
        while batch := self._inbox.take(BATCH, BATCH_BYTES):
            if self._keep(batch):
                self.link.acknowledge(batch)
                self._wake.set()
            if len(batch) < BATCH and sum(len(message.payload) for message in batch) < BATCH_BYTES:
                self._stopping.wait(GATHER_S)

    def _keep(self, batch: list[Incoming]) -> bool:
        """False when the plane stops before it could be written: unacknowledged, so the broker delivers it again."""
        while True:
            try:
                self.ingest.apply(batch)
            except OperationalError as error:
                log.warning("the registry cannot be written, retrying: %s", error.orig)
                if self._stopping.wait(1.0):
                    return False
            else:
                return True

    def __enter__(self) -> Self:
        self._writer.start()
        self._answerer.start()
        try:
            self.link.start()
            if self._enrolment:
                self._enrolment.__enter__()
        except PlaneError:
            self._end_threads()
            self.link.stop()
            raise
        self._heartbeat.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._heartbeat.__exit__()
        if self._enrolment:
            self._enrolment.__exit__()
        self._end_threads()
        self.link.stop()

    def _end_threads(self) -> None:
        self._inbox.close()
        self.answers.stop()
        self._writer.join()
        self._answerer.join()


def _enrolment(broker: Broker, desk: Desk) -> EnrolmentService | None:
    """The enrolment service, over a connection of its own; None where the broker has no way in for boards that ask."""
    where: Connection | None = broker.enrolment
    if where is None:
        return None
    return EnrolmentService(
        desk, lambda receive, has_room: Link(where, NOBODYS_ID, (topics.ALL_ENROLL_REQUESTS,), receive, has_room)
    )


def run_each(steps: Iterable[Callable[[], object]], note: Callable[[SkerryError], None]) -> None:
    """Run all steps; one that cannot do its work over a file or a row that is damaged holds up none after it.

    What concerns the plane as a whole (`PlaneError`), a registry that is locked, and bugs are passed on.
    """
    for step in steps:
        try:
            step()
        except PlaneError:
            raise
        except SkerryError as error:
            note(error)


@contextmanager
def single_instance(home: Home) -> Iterator[IO[str]]:
    """Holds the home for one serving plane; raises `PlaneError` when another has it."""
    with (home.root / "serve.lock").open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.seek(0)
            pid = file.read().strip() or "unknown"
            hint = "stop that one first"
            raise PlaneError(f"process {pid} already serves {home.root}", hint=hint, code="serving") from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield file


def _client_id(home: Home) -> str:
    """The same after a restart, so that the broker keeps what came in between."""
    return f"skerry-plane-{hashlib.sha256(str(home.root).encode()).hexdigest()[:8]}"
