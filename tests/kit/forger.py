"""Somebody who reaches the broker: hears what devices say, and says it again with something else in it. No tests here.

A forged message is determined by its number and by what was heard last, and has the shape of a real one: what is wrong
in it are numbers at their limits, other ids and releases, and other types. `tests.fuzz` damages bytes instead.
"""

import json
import random
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from skerry_agent.wire import topics
from skerry_agent.wire.codec import encode
from skerry_agent.wire.errors import WireError
from skerry_agent.wire.report_forms import decode_report

INTEGERS = (0, 1, -1, 2**20, 2**20 + 1, 2**31, 2**53 - 1, 2**53, 2**53 + 1, 2**62, 2**63 - 1, 2**63, 2**64)
FLOATS = (0.0, -1.0, 1e308, -1e308, 1e-308)
OTHERS = (None, [], {}, "", True, "x" * 2000, "\x1b[2J", "../x", -(2**63))
OUTCOMES = ("succeeded", "rejected", "failed", "rolled_back", "cancelled", "timed_out", "nonsense")
ALL = f"{topics.ROOT}/#"
SAID = ("/state", "/reported", "/result")


class Forger:
    """`words` are what texts are replaced with, beside what devices have said themselves."""

    def __init__(self, port: int, words: tuple[str, ...]) -> None:
        self.heard: dict[str, bytes] = {}
        self.count = 0
        self._words = words
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, "forger", clean_session=True)
        self._client.on_connect = lambda client, *_: client.subscribe(ALL, 1)
        self._client.on_message = lambda _client, _data, message: self._hear(message)
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()

    def close(self) -> None:
        """Leave without a word."""
        self._client.disconnect()
        self._client.loop_stop()

    def forge(self, count: int) -> None:
        """Publish so many forged messages, each on a topic where a device has said something."""
        for _ in range(count):
            self.count += 1
            rng = random.Random(f"forged:{self.count}")
            known = sorted(topic for topic in self.heard if _is_said(topic))
            if not known:
                return
            topic = rng.choice(known)
            raw = encode(self._changed(rng, _parsed(topic, self.heard[topic])))
            to = rng.choice(known) if rng.random() < 0.1 else topic
            self._client.publish(to, raw, 1, retain=rng.random() < 0.5).wait_for_publish(10.0)

    def say(self, topic: str, payload: bytes) -> None:
        """Publish just that, retained."""
        self._client.publish(topic, payload, 1, retain=True).wait_for_publish(10.0)

    def _hear(self, message: mqtt.MQTTMessage) -> None:
        self.heard[message.topic] = bytes(message.payload)

    def _changed(self, rng: random.Random, message: Any) -> Any:
        """With one to four values replaced, and as often as not with a sequence that makes it the newest."""
        leaves = list(_leaves(message))
        for _ in range(rng.choice((1, 1, 2, 4))):
            holder, key = rng.choice(leaves)
            holder[key] = self._other(rng, key, holder[key])
        if rng.random() < 0.5 and isinstance(message.get("sequence"), int):
            message["sequence"] += rng.choice((1, 2, 1000, 2**20))
        return message

    def _other(self, rng: random.Random, key: object, value: object) -> object:
        if rng.random() < 0.1:
            return rng.choice(OTHERS)
        if key == "outcome":
            return rng.choice(OUTCOMES)
        if isinstance(value, bool):
            return not value
        if isinstance(value, int):
            return rng.choice((*INTEGERS, value + 1, value + 2**20))
        if isinstance(value, float):
            return rng.choice(FLOATS)
        return rng.choice(self._words)


def _is_said(topic: str) -> bool:
    return topic.endswith(SAID) or topic.startswith(f"{topics.ROOT}/t/")


def _parsed(topic: str, raw: bytes) -> Any:
    """A device's message as plain data; nothing, where somebody forged one that is none."""
    try:
        plain = encode(decode_report(raw)) if topic.startswith(f"{topics.ROOT}/t/") else raw
        parsed = json.loads(plain)
    except (WireError, ValueError):
        parsed = {}
    return parsed if isinstance(parsed, dict) and parsed else {"device": topics.device_of(topic), "sequence": 1}


def _leaves(value: Any) -> "list[tuple[Any, Any]]":
    """(holder, key) of every value in a message, holders too."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    found = []
    for key, each in pairs:
        found += [(value, key), *_leaves(each)]
    return found
