"""Case T3 with real processes: whoever reaches a broker without access rules floods each topic of a device.

A rollout is ordered meanwhile. The order must be in force within half a minute, and the rollout succeed.
"""

import os
import time
from contextlib import ExitStack
from pathlib import Path

import msgspec
import pytest

from skerry_agent.trust.key_file import key_id, parse_keys
from skerry_agent.wire import codec, envelope, topics
from skerry_agent.wire.envelope import Envelope, Signature
from tests.kit.flood import Forged, flooding
from tests.kit.waiting import eventually
from tests.system.fleet import SECOND, await_end, outcomes, start_rollout

pytestmark = pytest.mark.system
PER_S = 100.0
IN_FORCE_S = 30.0


def looks_right(folder: Path, device: str, kind: str) -> bytes:
    """A message that only its signature tells from one of the host's."""
    director = key_id(parse_keys((folder / "trust.json").read_bytes())["director"][0])
    said = {
        "device": device,
        "generation": 2**53 - 1,
        "issued": 1.0,
        "assignments": [],
        "id": "c-1",
        "kind": "rollback",
    }
    signature = Signature(director, os.urandom(64))
    return codec.encode(Envelope(kind, msgspec.json.encode({**said, "expires": time.time() + 1e6}), (signature,)))


def floods(folder: Path, device: str) -> list[Forged]:
    """One for each topic of a device: what it hears looks right, what it says is garbage."""

    def garbage(topic: str) -> Forged:
        return lambda number: (topic, b"\xff%d" % number + os.urandom(200))

    said = [topics.state(device), topics.reported(device), topics.command_result(device), topics.ask(device)]
    heard = [topics.receipt(device), topics.piece(device, "a" * 64)]
    return [
        lambda _: (topics.desired(device), looks_right(folder, device, envelope.DESIRED)),
        lambda _: (topics.command(device), looks_right(folder, device, envelope.COMMAND)),
        lambda _: (topics.desired(device), os.urandom(300)),
        *map(garbage, [*said, topics.telemetry(device), *heard]),
    ]


def test_an_order_is_in_force_within_half_a_minute_under_a_flood_on_each_topic(home, running, plane):
    """Case T3."""
    with ExitStack() as attack:
        sent = [
            attack.enter_context(flooding(plane.broker, forge, per_s=PER_S))
            for forge in floods(running.folder, running.id)
        ]
        eventually(lambda: all(flood.sent > PER_S for flood in sent), "it is flooded")
        began = time.monotonic()
        rollout = start_rollout(home, SECOND, running.id)

        def in_force() -> bool:
            record = running.record()
            return record.deployment is not None and record.deployment.release == SECOND

        eventually(in_force, f"the order is in force; {running.tail()}", IN_FORCE_S)
        took_s = time.monotonic() - began
        assert outcomes(await_end(home, rollout)) == {("succeeded", "")}, running.tail()
        assert all(flood.sent > 2 * PER_S for flood in sent)
    assert took_s < IN_FORCE_S
    assert len((running.folder / "agent.log").read_text().splitlines()) < 500
