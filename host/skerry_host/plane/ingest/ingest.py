"""Writes device messages to the registry: validates each, cleans its texts, drops duplicates, writes in batches.

Here text from devices comes in, and nowhere else: what is stored holds no control characters and is of bounded length
(`skerry_host.text`). A malformed message is counted and logged and changes nothing; it never stops the plane. What
follows from a report is decided by the rollout loop, not here.
"""

import logging
import queue
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from msgspec.structs import replace
from sqlalchemy.exc import OperationalError, StatementError
from sqlalchemy.orm import Session

from skerry_agent.wire import codec, topics
from skerry_agent.wire.errors import WireError
from skerry_agent.wire.refusals import RefusedOrder
from skerry_agent.wire.report_forms import JSON, READ, decode_report, encode_report
from skerry_agent.wire.telemetry import Report
from skerry_agent.wire.twin import CommandResult, DeploymentReport, DeviceState, Reported, StateName
from skerry_agent.wire.upgrades import UpgradeState
from skerry_host.plane.broker.link import Incoming
from skerry_host.plane.ingest.drop_log import DropLog
from skerry_host.plane.ingest.rate_limits import RateLimits
from skerry_host.plane.ingest.speakers import MAX_JUMP, Speakers, Verdict, Word
from skerry_host.plane.registry.database import Registry
from skerry_host.plane.registry.records import alarms, changes, devices, events, orders, rollouts, settings, twins
from skerry_host.plane.registry.records.alarms import Alarm
from skerry_host.plane.registry.records.changes import NOTHING, Changes
from skerry_host.plane.registry.records.events import Event
from skerry_host.plane.registry.records.twins import LastWord
from skerry_host.plane.registry.telemetry.port import Arrival
from skerry_host.plane.registry.telemetry.sql import SqlTelemetry
from skerry_host.plane.registry.telemetry.totals import FleetTotals
from skerry_host.text import MOST, clean, cleaned

TELEMETRY = f"{topics.ROOT}/t/"
SUBSCRIPTIONS = (topics.ALL_STATES, topics.ALL_REPORTED, topics.ALL_COMMAND_RESULTS, topics.ALL_TELEMETRY)
UNSTORABLE = (ValueError, OverflowError, StatementError, WireError)
"""Raised for a message that is well typed but cannot be stored: a bucket named x, a damaged row that it is about."""

DeviceMessage = DeviceState | Reported | CommandResult | Report
KINDS: dict[str, type[DeviceMessage]] = {"state": DeviceState, "reported": Reported, "result": CommandResult}
"""The last part of a topic below `d/` to what is sent there."""

Result = Literal["accepted", "duplicate", "malformed"]
TAKEN: frozenset[Verdict] = frozenset({"next", "returned"})
"""What is said anew, by whom it may be said."""

MOST_CODE = 64

TRIALS = 3
"""So often a device may begin a trial of settings."""

SEEN_EVERY_S = 10.0
"""How often a report renews `last_seen`: a twin is a large row to write."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Received:
    """A message that is well formed and of an enrolled device; of a report, `raw` is the packed form.

    One that was `retained` may be of long ago: it says nothing about now.
    """

    message: DeviceMessage
    raw: bytes
    retained: bool = False


class Ingest:
    """Applies messages to the registry; `limits` say how much a device may send.

    `counts` holds accepted, duplicate, unknown, malformed and too_many since the start. `stored` names the device of
    each report that has been stored, so that it can be sent a receipt; `trials` each that tries settings, until when.
    """

    def __init__(self, registry: Registry, clock: Callable[[], float]) -> None:
        self._registry = registry
        self._clock = clock
        self._enrolled: set[str] = set()
        self._enrolled_as_of: Changes = NOTHING
        self._releases: frozenset[str] = frozenset()
        self._seen_at: dict[str, float] = {}
        self._strangers = DropLog(log, "the device is not enrolled", clock)
        self._malformed = DropLog(log, "they are malformed", clock)
        self._speakers = Speakers()
        self._too_many = DropLog(log, "their device sends too many", clock)
        self._unnoted = DropLog(log, "their device causes too many", clock, ("an event", "events"))
        self.limits = RateLimits()
        self.counts: Counter[str] = Counter()
        self.totals = FleetTotals()
        self.stored: queue.SimpleQueue[str] = queue.SimpleQueue()
        self.trials: queue.SimpleQueue[tuple[str, float]] = queue.SimpleQueue()

    def apply(self, messages: Sequence[Incoming]) -> None:
        """Apply all in one transaction; if a message cannot be stored, the two halves each in its own.

        Raises `OperationalError` when the registry cannot be written.
        """
        self.limits.begin(messages)
        self._apply(messages)

    def _apply(self, messages: Sequence[Incoming]) -> None:
        try:
            self._apply_together(messages)
        except OperationalError:  # locked, or the disk is full: nothing is wrong with the messages
            raise
        except UNSTORABLE as error:
            if len(messages) == 1:
                self._refuse(messages[0], str(getattr(error, "orig", None) or error))
                return
            middle = len(messages) // 2
            self._apply(messages[:middle])
            self._apply(messages[middle:])

    def _apply_together(self, messages: Sequence[Incoming]) -> None:
        now, results = self._clock(), Counter[str]()
        with self._registry.write() as session:
            self._read_enrolled(session)
            received = [each for message in messages if (each := self._received(message, results))]
            reports = [Arrival(each.message, each.raw) for each in received if isinstance(each.message, Report)]
            others = [each for each in received if not isinstance(each.message, Report)]
            rows = _prefetch(session, others)  # noqa: F841 - a session forgets rows that nobody holds
            results.update(self._dispatch(session, each) for each in others)
            fresh = SqlTelemetry(session).add(reports, now)
            reporting = {each.report.device for each in reports}
            due = [device for device in reporting if abs(now - self._seen_at.get(device, 0.0)) >= SEEN_EVERY_S]
            twins.seen(session, due if fresh else (), now)
            stated = {each.message.device for each in others if isinstance(each.message, DeviceState)}
            for device in twins.alive(session, [each for each in due if each not in stated] if fresh else ()):
                self._note_alive(session, device)
        results.update(accepted=len(fresh), duplicate=len(reports) - len(fresh))
        self.totals.add((each.report for each in fresh), self._releases)
        self.counts.update(results)
        self._seen_at.update(dict.fromkeys(due, now))
        for arrival in reports:
            self.stored.put(arrival.report.device)

    def _read_enrolled(self, session: Session) -> None:
        """The ids of all devices to be heard, and the releases of all rollouts, again whenever they have changed."""
        seen, now = self._enrolled_as_of, changes.now(session)
        if (seen.devices, seen.identities, seen.removed) != (now.devices, now.identities, now.removed):
            self._enrolled = devices.ids(session)
        if (seen.rollouts, seen.removed) != (now.rollouts, now.removed):
            self._releases = rollouts.releases(session)
        self._enrolled_as_of = now

    def _received(self, message: Incoming, results: "Counter[str]") -> _Received | None:
        """The message, if it is worth applying; else it is counted and logged."""
        try:
            device = topics.device_of(message.topic)
            if device not in self._enrolled:
                if message.payload:  # else the plane itself has cleared what the broker retained of one that is denied
                    self._strangers.note(device)
                    results["unknown"] += 1
                return None
            kind, now = _kind(message.topic), self._clock()
            spent = self.limits.is_spent(message, kind, device, now)
            said = None if spent else _decode(message, device, kind)
            if said is None or not self.limits.admit(message, kind, device, now):
                self._too_many.note(device)
                results["too_many"] += 1
                return None
            decoded = cleaned(said)
            raw = message.payload if decoded is said else codec.encode(decoded)
            raw = _packed(decoded, raw) if isinstance(decoded, Report) else raw
            return _Received(decoded, raw, message.retained)
        except WireError as error:
            self._malformed.note(clean(message.topic), clean(str(error), MOST))
            results["malformed"] += 1
            return None

    def _dispatch(self, session: Session, received: _Received) -> Result:
        """What it was; a duplicate says nothing new."""
        match received.message:
            case DeviceState() as state:
                verdict = self._judge(session, state, twins.last_state(session, state.device))
                fresh = verdict in TAKEN and self._state(session, state, verdict)
            case Reported() as reported:
                verdict = self._judge(session, reported, twins.last_reported(session, reported.device))
                fresh = verdict in TAKEN and self._reported(session, received, reported, verdict)
            case CommandResult() as result:
                verdict, fresh = "next", self._result(session, result)
            case _:
                raise AssertionError(received.message)
        if verdict == "malformed":
            return "malformed"
        return "accepted" if fresh else "duplicate"

    def _judge(self, session: Session, said: DeviceState | Reported, last: LastWord | None) -> Verdict:
        """Whether it is new, after the last of its kind; who speaks under the name of another sounds an alarm."""
        name, now = (said.device, type(said).__name__), self._clock()
        word = None if last is None else Word(last.boot, last.sequence)
        verdict = self._speakers.judge(name, Word(said.boot, said.sequence), word, now)
        if verdict == "malformed":
            why = f"sequence {said.sequence} is more than {MAX_JUMP} above the one before"
            self._malformed.note(said.device, why)
        if verdict == "returned" and self._speakers.seen_twice(said.device, now):
            other = f" and {last.boot[:8]}" if last is not None and last.boot != said.boot else ""
            text = f"two devices speak under this id (boots {said.boot[:8]}{other}): turn one of them off"
            alarms.sound(session, Alarm(said.device, alarms.CLONED, now, now, text))
        return verdict

    def _note(self, session: Session, event: Event) -> None:
        """Something that a device can cause again at once: one that does so without end fills no registry."""
        if self.limits.may_note(event.subject, event.at):
            events.add(session, event)
        else:
            self._unnoted.note(event.subject, event.kind)

    def _note_alive(self, session: Session, device: str) -> None:
        """Whoever speaks is there, also where somebody else has spoken its last will."""
        self._note(session, Event(self._clock(), "online", device, "it speaks"))

    def _state(self, session: Session, state: DeviceState, verdict: Verdict) -> bool:
        before = twins.is_online(session, state.device)
        fresh = twins.accept_state(session, state, self._clock(), returned=verdict == "returned")
        if fresh and before != state.online:
            word = "online" if state.online else "offline"
            self._note(session, Event(self._clock(), word, state.device, f"boot {state.boot[:8]}"))
        return fresh

    def _reported(self, session: Session, received: _Received, reported: Reported, verdict: Verdict) -> bool:
        now = self._clock()
        known = twins.refusals(session, reported.device) if reported.refused else set()
        signed, before = twins.generation(session, reported.device)
        if not twins.accept_reported(session, reported, received.raw, now, returned=verdict == "returned"):
            return False
        if not received.retained and twins.speaks(session, reported.device):
            self._note_alive(session, reported.device)
        if reported.generation > signed >= before:
            text = alarms.unsigned(reported.generation, signed)
            self._note(session, Event(now, alarms.UNSIGNED, reported.device, text))
        for refused in reported.refused:
            if (refused.message_sha256, refused.code) not in known:
                self._refused(session, reported.device, refused)
        self._settings(session, reported, now)
        for deployment in _deployments(reported):
            outcome = rollouts.apply_report(session, reported.device, deployment, now)
            if outcome:
                text = ": ".join(filter(None, (deployment.release, deployment.reason)))
                events.add(session, Event(now, outcome, reported.device, text))
        return True

    def _settings(self, session: Session, reported: Reported, now: float) -> None:
        said = reported.settings
        outcome = settings.apply_report(session, reported.device, said, now) if said is not None else None
        if outcome == "trial":
            self.trials.put((reported.device, now + TRIALS * settings.trial_s(session, reported.device)))
        elif said is not None and outcome is not None:
            text = ": ".join(filter(None, (clean(said.code, MOST_CODE), said.detail)))
            self._note(session, Event(now, f"settings_{outcome}", reported.device, text))

    def _refused(self, session: Session, device: str, refused: RefusedOrder) -> None:
        """Note a refusal, and end with it what was ordered by just that message, if anything is under way by it.

        What the device says of the message's generation or ids decides nothing.
        """
        now, refusal = self._clock(), rollouts.Refusal(clean(refused.code, MOST_CODE), clean(refused.detail, MOST))
        if refused.kind == "desired":
            if twins.is_desired(session, device, refused.message_sha256):
                settings.refuse(session, device, refusal.code, refusal.words, now)
            rollouts.refuse(session, twins.ordered_by(session, device, refused.message_sha256), refusal, now)
        else:
            orders.refuse(session, device, refused.message_sha256, f"{refusal.code}: {refusal.words}", now)
        self._note(session, Event(now, "order_refused", device, f"{refusal.code}: {refusal.words}"))

    def _result(self, session: Session, result: CommandResult) -> bool:
        order = orders.answer(session, result, self._clock())
        if order is None:
            return False
        word = "answered" if result.ok else "refused"
        text = ": ".join(filter(None, (order.kind, order.detail)))
        events.add(session, Event(self._clock(), word, result.device, text))
        return True

    def _refuse(self, message: Incoming, reason: str) -> None:
        self._malformed.note(clean(message.topic), f"cannot be stored: {clean(reason.splitlines()[0], MOST)}")
        self.counts["malformed"] += 1


_STATES: dict[UpgradeState, StateName] = {
    "idle": "idle",
    "fetching": "fetching",
    "installing": "verifying",
    "waiting": "staged",
    "trial": "probation",
}
"""A rollout shows an upgrade of the agent by the words that it has for models."""


def _deployments(reported: Reported) -> list[DeploymentReport]:
    """Of every model, and of the agent itself."""
    found = [model.deployment for model in reported.models.values() if model.deployment is not None]
    said = reported.upgrade
    if said is not None and said.deployment:
        state, received = _STATES[said.state], (said.bytes_received, said.bytes_expected)
        report = DeploymentReport(said.deployment, said.release, state, said.outcome, said.reason, said.detail, "full")
        report = replace(report, bytes_received=received[0], bytes_expected=received[1], transports=said.transports)
        found.append(report)
    return found


def _kind(topic: str) -> type[DeviceMessage]:
    """What a device sends on a topic. Raises `WireError` where that is nothing."""
    kind = Report if topic.startswith(TELEMETRY) else KINDS.get(topic.rpartition("/")[2])
    if kind is None:
        raise WireError("message", ["no device sends on this topic"])
    return kind


def _decode(message: Incoming, device: str, kind: type[DeviceMessage]) -> DeviceMessage:
    """Raises `WireError` when it is malformed, or of another device than its topic says."""
    decoded = decode_report(message.payload) if kind is Report else codec.decode(message.payload, kind)
    if decoded.device != device:
        name = kind.__name__.lower()
        raise WireError(name, [f"device: is {decoded.device!r} on the topic of {device!r}"])
    return decoded


def _packed(report: Report, raw: bytes) -> bytes:
    """The packed form, which is made of one that came as JSON. Raises `WireError` when it could not be read again."""
    if raw[0] in READ and raw[0] != JSON:
        return raw
    packed = encode_report(report)
    decode_report(packed)
    return packed


def _prefetch(session: Session, received: Sequence[_Received]) -> list[object]:
    """The rows that these messages are about, in two queries instead of two a message."""
    reported = [each.message for each in received if isinstance(each.message, Reported)]
    deployments = {deployment.id for each in reported for deployment in _deployments(each)}
    told = {each.device for each in reported if each.settings is not None and each.settings.id}
    return [
        *twins.rows(session, {each.message.device for each in received}),
        *rollouts.rows(session, deployments),
        *settings.rows(session, told),
    ]
