"""Every list is narrowed, ordered and paged with the same options."""

import json
import time

import pytest

from skerry_agent.wire.twin import ModelReport
from skerry_host.fleet.device import Device
from skerry_host.plane.broker.link import Incoming
from skerry_host.plane.heartbeat import HeartbeatWriter
from skerry_host.plane.ingest.ingest import Ingest
from skerry_host.plane.registry.database import open_registry
from skerry_host.plane.registry.records import devices, events
from skerry_host.plane.registry.records.events import Event
from tests.kit.commands import skerry
from tests.kit.device import DirectPort, FakeDevice
from tests.kit.home import add_release, make_home, model_bytes


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Three devices of which one is online, two releases, two rollouts, two groups; a plane runs."""
    made = make_home(tmp_path_factory.mktemp("lists") / "home")
    for version in ("1.0.0", "1.1.0"):
        add_release(made, version, model_bytes(version, 1000))
    with open_registry(made.registry) as registry, HeartbeatWriter(registry, time.time):
        with registry.write() as session:
            for number, board in enumerate(("generic-x86", "raspberry-pi-4", "raspberry-pi-4")):
                devices.add(session, Device(f"dev-{number}", board, frozenset({f"t{number}"}), ("cpu",)), 1.0)
            devices.add_group(session, "lab", "all", 1.0)
            devices.add_group(session, "pis", "board=raspberry-*", 1.0)
            events.add(session, Event(86_400.0 * 365, "rolled_back", "dev-1", "fashion@1.1.0"))
        ingest = Ingest(registry, time.time)
        device = FakeDevice("dev-1", DirectPort(lambda topic, raw: ingest.apply([Incoming(topic, raw)])))
        device.kept.models["fashion"] = ModelReport("idle", serving=False)
        device.connect()
        for version, group in (("1.0.0", "lab"), ("1.1.0", "pis")):
            skerry(made, "rollout", "start", f"fashion@{version}", "--group", group)
        skerry(made, "rollout", "abort", json.loads(skerry(made, "rollout", "status", "--json").stdout)[0]["id"])
        yield made


def said(home, *arguments, key="id"):
    return [row[key] for row in json.loads(skerry(home, *arguments, "--json").stdout)]


CASES = {
    "devices by state": ("device list --where state=online", "id", "dev-1"),
    "devices by state and board": ("device list --where", "state=offline and board=rasp*", "id", "dev-2"),
    "devices by tag": ("device list --where", "tag:t0 or tag:t2", "id", "dev-0 dev-2"),
    "devices by board, the other way round": ("device list --sort -board", "id", "dev-1 dev-2 dev-0"),
    "devices by when they were seen": ("device list --sort -seen --limit 1", "id", "dev-1"),
    "devices behind one": ("device list --sort -id --after dev-1", "id", "dev-0"),
    "releases": ("release list --where version=1.1.*", "release", "fashion@1.1.0"),
    "releases, newest first": ("release list --sort -counter --limit 1", "release", "fashion@1.1.0"),
    "rollouts by state": ("rollout status --where state=aborting", "release", "fashion@1.1.0"),
    "rollouts, oldest first": ("rollout status --sort started --limit 1", "release", "fashion@1.0.0"),
    "groups": ("group list --where id=p*", "name", "pis"),
    "groups by size": ("group list --sort devices", "name", "pis lab"),
    "events": ("event list --where", "kind=rolled_back and subject=dev-*", "subject", "dev-1"),
}
"""A command, one more argument if it has spaces, the key that is looked at, and its values."""


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_list_is_narrowed_and_ordered(home, case):
    command, *more, key, rows = case
    assert said(home, *command.split(), *more, key=key) == rows.split()


def test_the_devices_of_a_rollout_are_a_list_as_well(home):
    (rollout,) = said(home, "rollout", "status", "--where", "release=fashion@1.0.0")
    shown = json.loads(skerry(home, "rollout", "status", rollout, "--where", "id=dev-1 or id=dev-2", "--json").stdout)
    assert [each["device"] for each in shown["deployments"]] == ["dev-1", "dev-2"]
    assert shown["devices"] == 3, "the figures are of all of them"
    paged = skerry(home, "rollout", "status", rollout, "--limit", "1").stdout
    assert "2 more devices: --after dev-0, or --limit 3" in paged


def test_events_have_a_date(home):
    shown = skerry(home, "event", "list", "--where", "kind=rolled_back").stdout
    assert "1971-01-01 0" in shown or "1970-12-31 " in shown
    assert "rolled back" in shown


def test_events_are_paged_by_their_number(home):
    every = said(home, "event", "list")
    assert every == sorted(every, reverse=True)
    assert said(home, "event", "list", "--after", str(every[1]), "--limit", "2") == every[2:4]
    assert f"more events: --after {every[0]}" in skerry(home, "event", "list", "--limit", "1", "--sort", "-id").stdout


@pytest.mark.parametrize(
    ("options", "said_"),
    [
        (("--sort", "colour"), "'colour' is not one of id, board"),
        (("--where", "colour=red"), "expected id=, board=, state="),
        (("--sort", "id", "--after", "nobody"), "--after nobody: this is not in the list"),
    ],
)
def test_a_slip_is_one_line_that_names_the_fields(home, options, said_):
    done = skerry(home, "device", "list", *options, check=False)
    assert (done.returncode, said_ in done.stderr) == (2, True)


def test_a_list_that_was_narrowed_to_nothing_is_not_said_to_have_nothing(home):
    for what, *where in (
        ("devices", "device", "list", "--where", "tag:none"),
        ("devices", "device", "list", "--after", "zzz"),
        ("groups", "group", "list", "--where", "id=zzz"),
        ("rollouts", "rollout", "status", "--where", "release=zzz"),
    ):
        assert skerry(home, *where).stdout == f"no such {what}\n"


def test_the_next_page_begins_behind_one_that_is_not_selected_any_more(home):
    """It was running when the page before was made; by name, others would be left out or come twice."""
    newest, oldest = said(home, "rollout", "status")
    behind = ("rollout", "status", "--where", f"id={oldest}", "--after", newest)
    assert said(home, *behind) == [oldest]
    done = skerry(home, "event", "list", "--after", "999999", check=False)
    assert (done.returncode, "--after 999999: this is not in the list" in done.stderr) == (2, True)


def test_what_a_list_cannot_be_narrowed_by_is_refused_with_an_example_that_works(home):
    done = skerry(home, "event", "list", "--where", "tag:lab", check=False)
    assert done.returncode == 2
    example = done.stderr.partition("write for instance: ")[2].strip()
    assert skerry(home, "event", "list", "--where", example).returncode == 0
