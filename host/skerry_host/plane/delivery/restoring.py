"""Puts right the orders that somebody else has written over, and sounds an alarm that says so (`tampering` finds them).

What is published is what the registry wants on the topic now, whatever was there. One alarm and one event of a device,
however often it happens.
"""

import logging
from collections.abc import Callable, Sequence

from sqlalchemy.orm import Session

from skerry_agent.wire import topics
from skerry_host.plane.broker.link import Link, Outgoing
from skerry_host.plane.delivery.tampering import Overwritten, Tampering, digest
from skerry_host.plane.registry.database import Registry
from skerry_host.plane.registry.records import alarms, devices, orders, twins
from skerry_host.plane.registry.records.alarms import Alarm

WORDS = {"desired": "its desired state", "command": "a command to it"}
log = logging.getLogger(__name__)


def restore(registry: Registry, link: Link, tampering: Tampering, clock: Callable[[], float]) -> None:
    """Put right what is due."""
    found = tampering.due()
    if not found:
        return
    with registry.read() as session:
        wanted = _wanted(session, found)
    theirs = [each for each in found if each.topic in wanted and digest(wanted[each.topic]) != each.last]
    for topic, payload in wanted.items():
        tampering.publishing(topic, payload)
    if not theirs or not link.publish(Outgoing(topic, payload) for topic, payload in wanted.items()):
        return
    now = clock()
    with registry.write() as session:
        for each in theirs:
            if alarms.sound(session, _alarm(each.topic, now)):
                log.warning("somebody else has published on %s: it was put right", each.topic)


def _wanted(session: Session, found: Sequence[Overwritten]) -> dict[str, bytes]:
    """What each of these topics should hold, nothing where it is to be empty; only of devices that are enrolled."""
    enrolled = devices.ids(session)
    named = {each.topic: topics.device_of(each.topic) for each in found}
    named = {topic: device for topic, device in named.items() if device in enrolled}
    desired, commands = twins.envelopes(session, set(named.values())), orders.commands(session).sent
    return {
        topic: commands.get(device, b"") if _kind(topic) == "command" else desired.get(device, (0, b""))[1]
        for topic, device in named.items()
    }


def _alarm(topic: str, now: float) -> Alarm:
    what = WORDS[_kind(topic)]
    text = f"somebody else has written {what}, which was put right: see who may write on the broker"
    return Alarm(topics.device_of(topic), alarms.TAMPERING, now, now, text)


def _kind(topic: str) -> str:
    return topic.rpartition("/")[2]
