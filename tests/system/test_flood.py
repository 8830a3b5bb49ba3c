"""Floods with real processes: whoever reaches a broker without access rules sends what he likes.

Case T3: each topic of a device, while a rollout is ordered. The order must be in force within half a minute, and the
rollout succeed. Case T4: telemetry, while others report.
"""

import os
import time
from contextlib import ExitStack
from pathlib import Path

import msgspec
import pytest

from benchmarks.flood import DEVICES, MB, Bench
from benchmarks.flood import floods as floods_of_telemetry
from skerry_agent.trust.key_file import key_id, parse_keys
from skerry_agent.wire import codec, envelope, topics
from skerry_agent.wire.envelope import Envelope, Signature
from skerry_host.home import init_home
from skerry_host.plane.registry.database import open_registry
from tests.kit.commands import serving
from tests.kit.flood import Forged, flooding
from tests.kit.waiting import eventually
from tests.sim.enrol import enrol
from tests.sim.scenario import Group, Scenario
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


def test_a_flood_of_large_reports_loses_no_report_of_others_and_little_memory(tmp_path):
    """Case T4, a fiftieth of it; `python benchmarks/flood.py` runs all, with a gigabyte of each kind."""
    home = init_home(tmp_path / "home")
    with open_registry(home.registry) as registry:
        enrol(registry, Scenario((Group("sim", DEVICES),)))
        with serving(home, "--port", "0", "--http-port", "0") as plane:
            bench = Bench(registry, plane)
            bench.flood("large reports of one device", floods_of_telemetry()["large reports of one device"], 20 * MB)
            assert [goal.name for goal in bench.goals if not goal.met] == []
            assert plane.stop() == 0
