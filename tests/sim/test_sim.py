"""The simulator against a plane in this process over a real broker: what its devices say, the plane then knows."""

import asyncio
import random
import struct
import subprocess
import sys
import time
from collections import Counter

import msgspec
import pytest

from skerry_agent.wire.telemetry import Receipt
from skerry_host.fleet.policy import Policy
from skerry_host.plane.registry.database import open_registry
from skerry_host.plane.registry.records import devices, receipts, rollouts, twins
from skerry_host.plane.rollouts.intake import RolloutRequest, start_rollout
from tests.kit.brokers import Mosquitto
from tests.kit.home import add_release, make_home, model_bytes
from tests.kit.plane import served
from tests.kit.programs import ROOT
from tests.kit.waiting import BUSY
from tests.sim import mqtt
from tests.sim.enrol import enrol
from tests.sim.fleet import Fleet, read_ledger, write_ledger
from tests.sim.scenario import Away, Behaviour, Group, Scenario, draw, draw_outcome, load

QUICK = Behaviour(report_s=0.5, download_s=(0.1, 0.3), verify_s=(0.0,), stage_s=(0.1,), probation_s=(0.2, 0.4))


def test_fifty_devices_do_as_their_scenario_says(tmp_path):
    home = make_home(tmp_path / "home")
    release = add_release(home, "1.0.0", model_bytes("a", 3000))
    changed = msgspec.structs.replace
    scenario = Scenario(
        (
            Group("good", 30, changed(QUICK, repeats=2)),
            Group("bad", 8, changed(QUICK, ends={"rolled_back": 1.0})),
            Group("flaky", 8, changed(QUICK, away=Away((0.6,), (0.3,)))),
            Group("deaf", 2, changed(QUICK, obeys=False)),
            Group("gone", 2, changed(QUICK, connects=False)),
        ),
        seconds=60 * BUSY,
    )
    with open_registry(home.registry) as registry, Mosquitto(tmp_path / "broker") as broker:
        enrol(registry, scenario)
        with served(home, registry, broker.port):
            with registry.write() as session:
                request = RolloutRequest(release, devices.all_devices(session), "all", Policy())
                rollout = start_rollout(session, request, time.time())
            fleet = Fleet(scenario, f"mqtt://127.0.0.1:{broker.port}")
            ledger = asyncio.run(fleet.run(lambda: sum(outcomes(registry, rollout).values()) == 46))
            write_ledger(ledger, tmp_path / "ledger")
            sent = read_ledger(tmp_path / "ledger")
            until = time.monotonic() + 20 * BUSY
            while sent - stored(registry) and time.monotonic() < until:
                time.sleep(0.05)
        assert outcomes(registry, rollout) == Counter(succeeded=38, rolled_back=8)
        assert sent
        assert not sent - stored(registry)
        with registry.read() as session:
            silent = [twin.last_seen for twin in twins.of(session, ["gone-00000", "gone-00001"]).values()]
    assert silent == [None, None]
    assert ledger.counts["receipts"] > 0
    assert ledger.counts["connections"] > 48


def outcomes(registry, rollout):
    with registry.read() as session:
        return Counter(row.outcome for row in rollouts.deployments(session, rollout) if row.outcome)


def stored(registry):
    """(device, boot, sequence) of every report that is stored."""
    with registry.read() as session:
        found: dict[str, Receipt] = receipts.of(session, [d.id for d in devices.all_devices(session)])
    return Counter(
        (device, boot.boot, sequence)
        for device, receipt in found.items()
        for boot in receipt.boots
        for first, last in boot.spans
        for sequence in range(first, last + 1)
    )


def test_packets_are_found_however_the_bytes_arrive():
    raw = b"".join(mqtt.publish(f"t/{n}", bytes(n), n + 1, retain=True) for n in (0, 1, 127, 128, 300, 20_000))
    for size in (1, 3, 1000, len(raw)):
        buffer, bodies = bytearray(), []
        for first in range(0, len(raw), size):
            buffer += raw[first : first + size]
            bodies += [(kind, flags, len(body)) for kind, flags, body in mqtt.packets(buffer)]
        assert not buffer
        assert bodies == [(3, 3, n + 2 + len(f"t/{n}") + 2) for n in (0, 1, 127, 128, 300, 20_000)]


def test_a_connection_wills_its_death():
    raw = mqtt.connect("dev-1", ("t", b"dead"), 60)
    ((kind, _, body),) = mqtt.packets(bytearray(raw))
    assert kind == 1
    assert body == b"\x00\x04MQTT\x04\x2e" + struct.pack("!H", 60) + b"\x00\x05dev-1\x00\x01t\x00\x04dead"


def test_durations_lie_between_those_recorded_and_shares_are_kept():
    chance = random.Random(1)
    drawn = [draw((9.0, 1.0, 3.0), chance) for _ in range(1000)]
    assert 1.0 <= min(drawn) < 1.1
    assert 8.5 < max(drawn) <= 9.0
    assert 450 < sum(each < 3 for each in drawn) < 550
    ends = Counter(draw_outcome({"failed": 0.1, "rolled_back": 0.2}, chance) for _ in range(2000))
    assert 150 < ends["failed"] < 250
    assert 330 < ends["rolled_back"] < 470


def test_a_scenario_is_a_file(tmp_path):
    given = tmp_path / "night.toml"
    given.write_text(
        'seconds = 5.0\n[[groups]]\nname = "barn"\ndevices = 2\n[groups.behaviour.clock]\njump_s = -60.0\n'
    )
    scenario = load(given)
    assert scenario.devices == 2
    assert scenario.groups[0].ids == ["barn-00000", "barn-00001"]
    assert scenario.groups[0].behaviour.clock.jump_s == -60.0
    given.write_text('[[groups]]\nname = "barn"\ndevices = 2\nbehavior = {}\n')
    with pytest.raises(msgspec.ValidationError, match="behavior"):
        load(given)
    command = [sys.executable, "-m", "tests.sim", "--scenario", str(given)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
