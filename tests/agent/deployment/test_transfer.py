"""A transfer under its policy: hours, budget, a patch that does not come; over fakes."""

import datetime as dt
import os
import time

import pytest
from msgspec import structs

from skerry_agent.config import AgentConfig, AgentSection, BoardSection, BrokerSection, DeviceSection
from skerry_agent.deployment.context import DeviceContext
from skerry_agent.deployment.transfer import HOURS_POLL_S, Transfer, within_hours
from skerry_agent.machine import events
from skerry_agent.machine.records import Deployment
from skerry_agent.ports.clock import has_time_zone, use_time_zone
from skerry_agent.ports.jobs import PlanJob, Planned, Refusal
from skerry_agent.state.blobs import BlobStore
from skerry_agent.state.slots import BundleFolders
from skerry_agent.wire import topics
from skerry_agent.wire.blobs import describe
from skerry_agent.wire.twin import TransferPolicy
from tests.kit.clock import FakeClock
from tests.kit.link import FakeLink
from tests.kit.processes import FakeProcesses

MANIFEST, PATCH, FULL = b"manifest", b"p" * 1000, b"f" * 5000
NOON = 1_700_049_600.0  # 2023-11-15 12:00 UTC
HOUR_S = 3600.0


class Site:
    """A transfer with everything around it."""

    def __init__(self, folder, *, metered=False, stall_s=60.0, published=(MANIFEST, PATCH, FULL), **policy):
        source = {key: policy.pop(key) for key in ("http", "asked") if key in policy}
        source["folder"], own = policy.pop("stick", None), policy.pop("own", "always")
        self.clock = FakeClock()
        self.link = FakeLink({topics.chunk(describe(data).sha256, 0): data for data in published})
        self.events = []
        config = AgentConfig(
            DeviceSection("dev-1"),
            BrokerSection("mqtt://localhost"),
            BoardSection("test"),
            AgentSection(metered=metered, patch_stall_s=stall_s, hours=own),
        )
        self.processes = FakeProcesses(self.answer)
        store, folders = BlobStore(folder / "blobs"), BundleFolders(folder / "bundles", folder / "factory")
        nothing = lambda *_: None  # noqa: E731
        context = DeviceContext(
            config, self.clock, lambda c: c(), self.link, self.processes, store, folders, nothing, nothing, nothing
        )
        self.store, self.context = store, context
        order = Deployment("d1", "m@1.0.0", "cpu", describe(MANIFEST), TransferPolicy(**policy), **source)
        self.transfer = Transfer(context, order, {}, self.events.append)

    def answer(self, job):
        assert isinstance(job, PlanJob)
        if job.policy.byte_budget is not None and job.spent > job.policy.byte_budget:
            return Refusal("rejected", "over_byte_budget")
        data, kind = (FULL, "full") if job.force_full else (PATCH, "patch")
        return Planned(kind, (describe(data),), 5000)

    def pump(self):
        self.link.pump(self.transfer.message)


def test_fetches_manifest_and_patch(tmp_path):
    site = Site(tmp_path)
    site.transfer.start()
    site.pump()
    assert site.events == [events.Fetched("patch", len(PATCH), ("retained",))]
    assert (site.transfer.received, site.transfer.expected) == (len(PATCH), len(PATCH))


@pytest.mark.parametrize(
    "base", ["http://[abc", "http://h:99999", "http://h:0", "http://a..b", "http://", "ftp://x/y", "x"]
)
def test_an_address_that_is_none_is_passed_over(tmp_path, base):
    site = Site(tmp_path, http=base)
    site.transfer.start()
    site.pump()
    assert site.events == [events.Fetched("patch", len(PATCH), ("retained",))]


@pytest.mark.parametrize(
    ("fallback", "metered", "ends"),
    [
        ("always", False, events.Fetched("full", len(FULL), ("retained",))),
        ("always", True, events.Fetched("full", len(FULL), ("retained",))),
        ("unmetered", False, events.Fetched("full", len(FULL), ("retained",))),
        ("unmetered", True, "stalled"),
        ("never", False, "stalled"),
    ],
)
def test_a_patch_that_does_not_come_is_done_without_where_the_policy_allows(tmp_path, fallback, metered, ends):
    site = Site(tmp_path, published=(MANIFEST, FULL), metered=metered, full_fallback=fallback)
    site.transfer.start()
    for _ in range(10):
        site.pump()
        site.clock.advance(30.0)
    (event,) = site.events
    assert event.reason == ends if isinstance(ends, str) else event == ends


def test_what_the_manifest_cost_counts_against_the_budget(tmp_path):
    site = Site(tmp_path, byte_budget=len(MANIFEST) + len(PATCH))
    site.transfer.start()
    site.pump()
    assert [job.spent for job in site.processes.jobs] == [len(MANIFEST)]
    assert site.events == [events.Fetched("patch", len(PATCH), ("retained",))]


def test_the_manifest_and_the_rest_share_one_budget(tmp_path):
    site = Site(tmp_path, byte_budget=len(MANIFEST) + len(PATCH) - 1)
    site.transfer.start()
    site.pump()
    (event,) = site.events
    assert event.reason == "over_byte_budget"


@pytest.mark.parametrize("asked", [False, True])
def test_it_asks_at_once_where_the_order_says_so(tmp_path, asked):
    site = Site(tmp_path, asked=asked)
    site.transfer.start()
    assert bool(site.link.published) is asked


def test_a_bundle_that_does_not_fit_is_said_before_it_is_fetched(tmp_path):
    site = Site(tmp_path)
    site.processes._answers = lambda _job: Planned("full", (describe(FULL),), 10**15)
    site.transfer.start()
    site.pump()
    (event,) = site.events
    assert event.reason == "disk_full"
    assert not site.link.subscribed


@pytest.fixture
def utc(monkeypatch):
    monkeypatch.setitem(os.environ, "TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("hours", "opened"),
    [
        ((0, 720), False),
        ((720, 721), True),
        ((700, 720), False),
        ((1320, 300), False),
        ((1320, 721), True),
        ((5, 5), False),
    ],
)
@pytest.mark.usefixtures("utc")
def test_a_window_of_hours(hours, opened):
    assert within_hours(hours, NOON) is opened


def test_a_clock_that_was_never_set_knows_no_hour():
    assert within_hours((0, 1), 1000.0)


@pytest.mark.usefixtures("utc")
def test_a_transfer_waits_for_its_hour_and_stops_when_it_is_over(tmp_path):
    site = Site(tmp_path, stall_s=1e6, hours=(13 * 60, 14 * 60))
    site.clock.now = NOON - 1_700_000_000
    site.transfer.start()
    assert site.transfer.waiting == "waiting until 13:00"
    assert not site.link.subscribed
    site.link.retained.pop(topics.chunk(describe(PATCH).sha256, 0))
    site.clock.advance(HOUR_S + HOURS_POLL_S)
    site.pump()
    assert site.transfer.waiting == ""
    assert site.link.subscribed == {topics.chunk(describe(PATCH).sha256, 0)}
    site.clock.advance(HOUR_S)
    assert site.transfer.waiting == "waiting until 13:00"
    assert not site.link.subscribed
    site.link.retained[topics.chunk(describe(PATCH).sha256, 0)] = PATCH
    site.clock.advance(23 * HOUR_S)
    site.pump()
    assert site.events == [events.Fetched("patch", len(PATCH), ("retained",))]


def waits(site):
    """What it waits for once it has begun at noon."""
    site.clock.now = NOON - 1_700_000_000
    site.transfer.start()
    return site.transfer.waiting


@pytest.mark.usefixtures("utc")
def test_the_devices_own_hours_hold_where_the_rollout_says_none(tmp_path):
    assert waits(Site(tmp_path, own="22:00-05:30")) == "waiting until 22:00"


@pytest.mark.usefixtures("utc")
def test_the_hours_of_a_rollout_stand_in_the_place_of_the_devices(tmp_path):
    """Else two windows that never meet would let nothing through."""
    assert waits(Site(tmp_path, own="22:00-05:30", hours=(0, 1439))) == ""


@pytest.mark.usefixtures("utc")
def test_what_comes_from_a_stick_waits_for_no_hour_of_the_device(tmp_path):
    assert waits(Site(tmp_path, own="22:00-05:30", stick=str(tmp_path))) == ""


@pytest.mark.usefixtures("utc")
def test_hours_that_are_set_while_it_waits_or_works_count_from_then_on(tmp_path):
    site = Site(tmp_path, own="22:00-05:30")
    assert waits(site) == "waiting until 22:00"
    use(site, "23:00-05:30")
    assert site.transfer.waiting == "waiting until 23:00"
    use(site, "always")
    assert (site.transfer.waiting, bool(site.link.subscribed)) == ("", True)
    use(site, "23:00-05:30")
    assert (site.transfer.waiting, bool(site.link.subscribed)) == ("waiting until 23:00", False)


def use(site, hours):
    agent = structs.replace(site.context.config.agent, hours=hours)
    site.context.config = structs.replace(site.context.config, agent=agent)
    site.clock.advance(HOURS_POLL_S)


def berlin(*moment):
    """Seconds since 1970 of a moment in UTC."""
    return dt.datetime(*moment, tzinfo=dt.UTC).timestamp()


@pytest.fixture
def in_berlin():
    if not has_time_zone("Europe/Berlin"):
        pytest.skip("this machine has no time zones")
    use_time_zone("Europe/Berlin")
    yield
    use_time_zone(None)


@pytest.mark.usefixtures("in_berlin")
@pytest.mark.parametrize(
    ("moment", "clock"),
    [
        ((2026, 1, 15, 21, 30), "22:30"),
        ((2026, 7, 15, 20, 30), "22:30"),
        ((2026, 3, 29, 0, 59), "01:59"),
        ((2026, 3, 29, 1, 0), "03:00"),
        ((2026, 10, 25, 0, 30), "02:30"),
        ((2026, 10, 25, 1, 30), "02:30"),
        ((2026, 10, 25, 2, 0), "03:00"),
        ((2026, 12, 31, 22, 59), "23:59"),
        ((2026, 12, 31, 23, 0), "00:00"),
    ],
)
def test_a_window_goes_by_the_clock_on_the_wall_also_where_that_is_put_on_or_back(moment, clock):
    """Central Europe: 02:00 is left out on 29 March 2026, and comes twice on 25 October."""
    hour, minute = map(int, clock.split(":"))
    now = 60 * hour + minute
    wall = berlin(*moment)
    assert within_hours((now, (now + 1) % 1440), wall)
    assert not within_hours(((now + 1) % 1440, now), wall)


@pytest.mark.usefixtures("in_berlin")
def test_a_night_window_is_open_all_night_when_the_clock_is_put_on_or_back():
    for day, hours in (((2026, 3, 28, 21, 0), 6.5), ((2026, 10, 24, 20, 0), 8.5), ((2026, 1, 15, 21, 0), 7.5)):
        begin = berlin(*day)
        opened = [within_hours((22 * 60, 5 * 60 + 30), begin + 60 * minute) for minute in range(-60, 24 * 60 - 60)]
        assert sum(opened) == hours * 60
        assert opened.index(True) == 60
        assert opened[60 : 60 + sum(opened)] == [True] * sum(opened), "it is one window"


def test_stopped_it_says_nothing_more(tmp_path):
    site = Site(tmp_path)
    site.transfer.start()
    site.transfer.stop()
    site.pump()
    assert not site.events
    assert not site.link.subscribed
