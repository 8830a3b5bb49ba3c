"""Writes device messages to the registry: validates each, drops duplicates, writes in batches.

A malformed message is counted and logged and changes nothing; it never stops the plane. What follows from a report is
decided by the rollout loop, not here.
"""

import logging
import queue
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TypeVar

from sqlalchemy.exc import OperationalError, StatementError
from sqlalchemy.orm import Session

from skerry_agent.wire import codec, topics
from skerry_agent.wire.errors import WireError
from skerry_agent.wire.report_forms import decode_report
from skerry_agent.wire.telemetry import Report
from skerry_agent.wire.twin import CommandResult, DeviceState, Reported
from skerry_host.plane.broker.link import Incoming
from skerry_host.plane.registry.database import Registry
from skerry_host.plane.registry.records import events, orders, receipts, rollouts, telemetry, twins
from skerry_host.plane.registry.records.events import Event
from skerry_host.plane.registry.tables import DeviceRow

TELEMETRY = f"{topics.ROOT}/t/"
SUBSCRIPTIONS = (topics.ALL_STATES, topics.ALL_REPORTED, topics.ALL_COMMAND_RESULTS, topics.ALL_TELEMETRY)
UNSTORABLE = (ValueError, OverflowError, StatementError)
"""Raised for a message that is well typed but cannot be stored (a bucket named x, a count of 2**80)."""

DeviceMessage = TypeVar("DeviceMessage", DeviceState, Reported, CommandResult, Report)
MAX_UNKNOWN_DEVICES = 1000
log = logging.getLogger(__name__)


class Ingest:
    """Applies messages to the registry. `counts` holds accepted, duplicate, unknown and malformed since the start.

    `stored` names the device of each report that has been stored, so that it can be sent a receipt.
    """

    def __init__(self, registry: Registry, clock: Callable[[], float]) -> None:
        self._registry = registry
        self._clock = clock
        self._unknown: set[str] = set()
        self.counts: Counter[str] = Counter()
        self.stored: queue.SimpleQueue[str] = queue.SimpleQueue()

    def apply(self, messages: Sequence[Incoming]) -> None:
        """Apply all in one transaction; if a message cannot be stored, each in its own.

        Raises `OperationalError` when the registry cannot be written.
        """
        try:
            self._apply_together(messages)
        except OperationalError:  # locked, or the disk is full: nothing is wrong with the messages
            raise
        except UNSTORABLE as error:
            if len(messages) == 1:
                self._refuse(messages[0], str(getattr(error, "orig", None) or error))
                return
            for message in messages:
                self.apply([message])

    def _apply_together(self, messages: Sequence[Incoming]) -> None:
        reports: list[Report] = []
        with self._registry.write() as session:
            results = Counter(self._apply_one(session, message, reports) for message in messages)
            fresh = telemetry.add(session, reports, self._clock())
            receipts.mark_stored(session, reports, self._clock())
            for device in {report.device for report in reports} if fresh else ():
                twins.seen(session, device, self._clock())
        results.update(accepted=fresh, duplicate=len(reports) - fresh)
        del results["later"]
        self.counts.update(results)
        for report in reports:
            self.stored.put(report.device)

    def _apply_one(self, session: Session, message: Incoming, reports: list[Report]) -> str:
        """The result of one message; telemetry is added to `reports`, as "later", and counted in one go."""
        try:
            device = topics.device_of(message.topic)
            if session.get(DeviceRow, device) is None:
                self._log_unknown(device)
                return "unknown"
            if message.topic.startswith(TELEMETRY):
                reports.append(_of_device(decode_report(message.payload), device))
                return "later"
            fresh = self._dispatch(session, message, device)
        except WireError as error:
            log.warning("%s on %s", error, message.topic)
            return "malformed"
        return "accepted" if fresh else "duplicate"

    def _dispatch(self, session: Session, message: Incoming, device: str) -> bool:
        kind = message.topic.removeprefix(f"{topics.ROOT}/d/{device}/")
        if kind == "state":
            return self._state(session, _decode(message, DeviceState, device))
        if kind == "reported":
            return self._reported(session, _decode(message, Reported, device), message.payload)
        return self._result(session, _decode(message, CommandResult, device))

    def _state(self, session: Session, state: DeviceState) -> bool:
        before = twins.find(session, state.device).online
        fresh = twins.accept_state(session, state, self._clock())
        if fresh and before != state.online:
            word = "online" if state.online else "offline"
            events.add(session, Event(self._clock(), word, state.device, f"boot {state.boot[:8]}"))
        return fresh

    def _reported(self, session: Session, reported: Reported, raw: bytes) -> bool:
        now = self._clock()
        if not twins.accept_reported(session, reported, raw, now):
            return False
        for model in reported.models.values():
            if model.deployment is None:
                continue
            outcome = rollouts.apply_report(session, reported.device, model.deployment, now)
            if outcome:
                text = ": ".join(filter(None, (model.deployment.release, model.deployment.reason)))
                events.add(session, Event(now, outcome, reported.device, text))
        return True

    def _result(self, session: Session, result: CommandResult) -> bool:
        order = orders.answer(session, result, self._clock())
        if order is None:
            return False
        word = "answered" if result.ok else "refused"
        events.add(session, Event(self._clock(), word, result.device, f"{order.kind}: {result.detail}".rstrip(": ")))
        return True

    def _log_unknown(self, device: str) -> None:
        """Log each unknown device once, so that it cannot fill the log."""
        if device not in self._unknown and len(self._unknown) < MAX_UNKNOWN_DEVICES:
            self._unknown.add(device)
            log.warning("device %s is not enrolled: its messages are dropped", device)

    def _refuse(self, message: Incoming, reason: str) -> None:
        log.warning("a message on %s cannot be stored: %s", message.topic, reason.splitlines()[0])
        self.counts["malformed"] += 1


def _decode(message: Incoming, kind: type[DeviceMessage], device: str) -> DeviceMessage:
    return _of_device(codec.decode(message.payload, kind), device)


def _of_device(decoded: DeviceMessage, device: str) -> DeviceMessage:
    if decoded.device != device:
        what = type(decoded).__name__.lower()
        raise WireError(what, [f"device: is {decoded.device!r} on the topic of {device!r}"])
    return decoded
