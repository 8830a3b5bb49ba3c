"""Reports of devices whose clock was never set: the host works out when their intervals began, later and better."""

import pytest

from skerry_agent.wire.report_forms import encode_report
from skerry_agent.wire.telemetry import Report
from skerry_host.fleet.device import Device
from skerry_host.plane.registry.database import open_registry
from skerry_host.plane.registry.records import devices
from skerry_host.plane.registry.telemetry.port import Arrival
from skerry_host.plane.registry.telemetry.sql import SqlTelemetry

NOW = 1_800_000_000.0
BOOTED = NOW - 1000.0


@pytest.fixture
def registry(tmp_path):
    with open_registry(tmp_path / "r.sqlite") as opened:
        with opened.write() as session:
            devices.add(session, Device("dev-1", "generic-x86", targets=("cpu",)), 1.0)
        yield opened


def report(sequence, uptime_s, started=10.0, boot="boot-1"):
    return Report("dev-1", boot, sequence, started, uptime_s, 10.0)


def keep(registry, *reports, at):
    with registry.write() as session:
        SqlTelemetry(session).add([Arrival(each, encode_report(each)) for each in reports], at)


def kept(registry):
    with registry.read() as session:
        recent = SqlTelemetry(session).recent(["dev-1"], 100)["dev-1"]
        return {report.sequence: (report.clock, report.started) for report in recent}


def test_a_clock_that_is_set_is_believed(registry):
    keep(registry, report(0, 100.0, started=NOW - 10), at=NOW)
    assert kept(registry) == {0: ("device", NOW - 10)}


@pytest.mark.parametrize("started", [0.0, 315_532_800.0, NOW + 10 * 365 * 86400])
def test_one_that_is_not_is_replaced(registry, started):
    keep(registry, report(0, 500.0, started=started), at=BOOTED + 500.0)
    assert kept(registry) == {0: ("host", BOOTED + 490.0)}


def test_reports_that_waited_are_corrected_when_one_comes_quickly(registry):
    """Three intervals kept while offline come all at once, late; the fourth comes as it is made."""
    keep(registry, *(report(i, 100.0 + 10 * i) for i in range(3)), at=BOOTED + 800.0)
    assert kept(registry)[2] == ("host", BOOTED + 790.0)
    assert kept(registry)[0] == ("host", BOOTED + 770.0)
    keep(registry, report(3, 810.0), at=BOOTED + 810.0)
    assert kept(registry) == {
        0: ("host", BOOTED + 90.0),
        1: ("host", BOOTED + 100.0),
        2: ("host", BOOTED + 110.0),
        3: ("host", BOOTED + 800.0),
    }


def test_a_clock_that_is_set_later_leaves_its_own_reports_alone(registry):
    keep(registry, report(0, 100.0), at=BOOTED + 100.0)
    keep(registry, report(1, 110.0, started=NOW), at=NOW)
    assert kept(registry) == {0: ("host", BOOTED + 90.0), 1: ("device", NOW)}


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_a_clock_that_is_set_later_says_when_the_others_were(registry, order):
    """All of them came days late, so when they came says little."""
    made = [report(0, 100.0), report(1, 110.0), report(2, 120.0, started=BOOTED + 110.0)]
    for i in order:
        keep(registry, made[i], at=BOOTED + 3 * 86400.0)
    assert kept(registry) == {
        0: ("host", BOOTED + 90.0),
        1: ("host", BOOTED + 100.0),
        2: ("device", BOOTED + 110.0),
    }


def test_another_boot_is_another_clock(registry):
    keep(registry, report(0, 100.0), at=BOOTED + 100.0)
    keep(registry, report(0, 5.0, boot="boot-2"), at=BOOTED + 500.0)
    with registry.read() as session:
        by_boot = {report.boot: report.started for report in SqlTelemetry(session).recent(["dev-1"], 9)["dev-1"]}
    assert by_boot == {"boot-1": BOOTED + 90.0, "boot-2": BOOTED + 490.0}
