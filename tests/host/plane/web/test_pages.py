"""The HTTP interface without a browser: every route, its headers, and that nothing a device says becomes markup."""

import re
import xml.etree.ElementTree as ET
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from skerry_agent.wire import codec, topics
from skerry_agent.wire.twin import Reported
from skerry_agent.wire.upgrades import UpgradeReport
from skerry_host.plane.registry.database import open_registry
from skerry_host.plane.registry.records import alarms
from skerry_host.plane.views import words
from skerry_host.plane.views.counters import Counters
from skerry_host.plane.views.gather import Page as DevicePage
from skerry_host.plane.views.newest import NewestIntervals
from skerry_host.plane.views.views import Point, RolloutView
from skerry_host.plane.web import charts
from skerry_host.plane.web.app import application
from skerry_host.plane.web.entry import Page
from skerry_host.plane.web.pages import overview
from skerry_host.plane.web.rendering import TEMPLATES
from skerry_host.plane.web.routes import ROUTES
from tests.host.plane.web.scene import BOARDS, whole_story

URL = "http://127.0.0.1"
COUNTERS = Counters({"accepted": 12, "malformed": 1}, 4096, 2, True)


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    made = whole_story(tmp_path_factory.mktemp("scene") / "home")
    yield made
    made.registry.close()


@pytest.fixture
def client(scene):
    with TestClient(application(scene.registry, lambda: COUNTERS), URL) as made:
        yield made


def test_overview_page_says_what_the_fleet_does(client):
    page = client.get("/").text
    for expected in [
        *BOARDS,
        "fashion@1.1.0",
        "fashion@1.2.0 rolled back",
        "latency over budget",
        "modelled",
        "measured",
    ]:
        assert expected in page
    assert "3<small> of 4" in page


def test_every_page_and_route(client):
    rollout = client.get("/api/v1/rollouts").json()[0]["id"]
    paths = [entry.path.replace("{id}", rollout if "rollouts" in entry.path else "shelf-01") for entry in ROUTES]
    for path in (
        *paths,
        "/?after=shelf-01",
        "/?after=%00",
        "/?page=9",
        f"/rollouts/{rollout}?page=9",
        "/static/style.css",
    ):
        answer = client.get(path)
        assert answer.status_code == 200, path
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert "http://" not in answer.text.replace("http://www.w3.org/2000/svg", ""), (
            "nothing is loaded from elsewhere"
        )


def links(page: str) -> list[tuple[str, str]]:
    """(path, word) of each link in a page's navigation."""
    return re.findall(r'<a href="([^"]+)">([^<]+)</a>', page.partition("<nav>")[2].partition("</nav>")[0])


def test_navigation_is_read_from_the_table(client):
    named = [(entry.path, entry.link) for entry in ROUTES if entry.link]
    assert named[0] == ("/", "Fleet")
    assert {("/api/v1/overview", "API"), ("/metrics", "Metrics")} <= set(named)
    for path in ("/", "/devices/shelf-01"):
        assert links(client.get(path).text) == named


def test_no_path_is_served_twice():
    assert len({entry.path for entry in ROUTES}) == len(ROUTES)


def test_a_page_is_a_module_and_its_template(scene):
    modules = {path.stem for path in TEMPLATES.glob("*.py")} - {"__init__"}
    templates = {path.stem for path in TEMPLATES.glob("*.html")} - {"base", "parts"}
    assert modules == templates == {entry.template.removesuffix(".html") for entry in ROUTES if isinstance(entry, Page)}
    table = (*ROUTES, Page("/second", overview.values, "overview.html", link="Second"))
    with TestClient(application(scene.registry, lambda: COUNTERS, table), URL) as client:
        assert links(client.get("/").text)[-1] == ("/second", "Second")
        assert "Devices online" in client.get("/second").text


def test_what_is_not_there_is_404_in_json(client):
    for path in ("/devices/nobody", "/rollouts/nothing", "/api/v1/devices/nobody", "/api/v1/rollouts/x"):
        answer = client.get(path)
        assert answer.status_code == 404
        assert answer.json()["message"].startswith("there is no ")
    assert client.get("/static/../app.py").status_code == 404
    assert client.post("/").status_code == 405


def test_another_name_for_this_machine_reads_nothing(client):
    assert client.get("/", headers={"host": "evil.example"}).status_code == 400


def test_api_says_the_same_as_the_page(client):
    seen = client.get("/api/v1/overview").json()
    assert seen["totals"]["online"] == 3
    shelf = next(d for d in seen["devices"] if d["id"] == "shelf-01")
    model = shelf["models"][0]
    assert (model["release"], model["wanted"], model["outcome"]) == ("fashion@1.1.0", "fashion@1.1.0", "rolled_back")
    assert model["points"][-1]["p50_us"] == pytest.approx(1886, rel=0.1)
    assert model["energy_source"] == "modelled"
    one = client.get("/api/v1/devices/shelf-01").json()
    assert [d["outcome"] for d in one["deployments"]] == ["rolled_back", "succeeded", "succeeded"]


def followed(client, path):
    """Every part of an answer that is given a part at a time."""
    parts = []
    while path:
        answer = client.get(path)
        parts.append(answer.json())
        path = answer.links["next"]["url"] if "next" in answer.links else None
    return parts


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 100])
def test_the_parts_of_a_list_are_the_whole_of_it(client, limit):
    parts = followed(client, f"/api/v1/devices?limit={limit}")
    assert [device["id"] for part in parts for device in part] == sorted(BOARDS)
    assert max(map(len, parts)) == min(limit, 4)


def test_the_overview_is_given_a_page_of_devices_at_a_time(client):
    parts = followed(client, "/api/v1/overview?limit=3")
    assert [len(part["devices"]) for part in parts] == [3, 1]
    assert [part["next"] for part in parts] == [sorted(BOARDS)[2], None]
    assert [part["totals"]["devices"] for part in parts] == [4, 4]


def test_a_rollout_is_given_a_page_of_deployments_at_a_time(client):
    rollout = client.get("/api/v1/rollouts").json()[0]
    parts = followed(client, f"/api/v1/rollouts/{rollout['id']}?limit=3")
    assert [d["device"] for part in parts for d in part["deployments"]] == sorted(BOARDS)
    assert {(part["devices"], part["outcomes"]["rolled_back"]) for part in parts} == {(4, 4)}


@pytest.mark.parametrize("asked", ["limit=x", "limit=-1", "limit=0", "limit=99999999999999999999", "cursor=%00"])
def test_whatever_is_asked_for_there_is_a_page(client, asked):
    for path in ("/api/v1/overview", "/api/v1/devices", "/api/v1/rollouts"):
        assert client.get(f"{path}?{asked}").status_code == 200


def test_a_large_fleet_has_pages(client, monkeypatch):
    monkeypatch.setattr("skerry_host.plane.views.gather.Page", lambda after: DevicePage(after, 2))
    first = client.get("/").text
    assert re.findall(r'<tr data-device="([^"]+)"', first) == sorted(BOARDS)[:2]
    second = client.get(re.search(r'<a href="(/\?after=[^"]+)">next</a>', first).group(1)).text
    assert re.findall(r'<tr data-device="([^"]+)"', second) == sorted(BOARDS)[2:]
    assert '<a href="/">first</a>' in second
    assert ">next</a>" not in second


def test_newest_figures_are_read_when_they_are_new(scene):
    newest, asked = NewestIntervals(), []

    def looked():
        with scene.registry.read() as session:
            execute = session.execute
            session.execute = lambda query, *rest: asked.append(str(query)) or execute(query, *rest)
            asked.clear()
            return dict(newest.read(session))

    before = looked()
    assert any("body" in query for query in asked)
    assert looked() == before
    assert not any("body" in query for query in asked)
    scene.measure(1)
    after = looked()
    assert after["shelf-01"].received > before["shelf-01"].received
    assert after["door-cam"] is before["door-cam"]


def test_health_fails_without_a_broker(scene):
    with TestClient(application(scene.registry, lambda: Counters({}, 0, 0, False)), URL) as client:
        assert client.get("/healthz").status_code == 503


def test_an_empty_fleet_says_how_to_begin(tmp_path):
    with (
        open_registry(tmp_path / "r.sqlite") as registry,
        TestClient(application(registry, lambda: COUNTERS), URL) as client,
    ):
        page = client.get("/").text
        assert "skerry device provision" in page
        assert "No events yet" in page


def test_what_a_device_says_is_text(scene, client):
    evil = '<script>alert("x")</script>'
    device = scene.devices["shelf-02"]
    models = {evil: device.kept.models["fashion"]}
    said = Reported("shelf-02", device.boot, 10_000, 3, evil, evil, ("cpu",), models, (evil,))
    device.publish(topics.reported("shelf-02"), codec.encode(said), retain=True)
    assert "<script>alert" not in client.get("/").text
    page = client.get("/devices/shelf-02").text
    assert "<script>alert" not in page
    assert page.count("&lt;script&gt;") >= 3


def test_a_device_shows_what_became_of_its_agent_s_upgrade(scene, client):
    device = scene.devices["dock-07"]
    assert "last upgrade" not in client.get("/devices/dock-07").text
    said = UpgradeReport("d-1", "agent@0.9.0", "idle", "rolled_back", "agent_not_healthy", "<b>no connection</b>")
    device.kept.upgrade = said
    device.say()
    page = client.get("/devices/dock-07").text
    for shown in ("last upgrade", "agent@0.9.0", "rolled back", "agent not healthy in time", "&lt;b&gt;no connection"):
        assert shown in page
    (found,) = [each for each in client.get("/api/v1/devices").json() if each["id"] == "dock-07"]
    assert (found["upgrade"]["attempted"], found["upgrade"]["outcome"]) == ("agent@0.9.0", "rolled_back")


VALUES = st.none() | st.floats(0, 1e15)
POINTS = st.lists(
    st.builds(Point, st.floats(0, 4e9), st.sampled_from(["a@1.0.0", "<&>\"'"]), st.floats(0, 1e9), *[VALUES] * 4)
)


@given(POINTS)
def test_drawings_are_well_formed_whatever_the_figures(points):
    for draw in (charts.sparkline, charts.latency_chart, charts.rate_chart, charts.energy_chart):
        ET.fromstring(str(draw(points)))


def test_a_chart_is_over_time_and_a_gap_in_it_is_a_gap():
    times = [*range(0, 36_000, 600), *range(72_000, 90_000, 600)]
    points = [Point(float(at), "m@1.0.0", 1.0, 1.0, 2.0, 3.0, None) for at in times]
    drawn = ET.fromstring(str(charts.rate_chart(points)))
    lines = [line.get("points").split() for line in drawn.iter() if line.tag == "polyline"]
    assert [len(line) for line in lines] == [60, 30]
    first, _, last = (float(line.split(",")[0]) for line in (lines[0][0], lines[0][-1], lines[1][-1]))
    resumed = float(lines[1][0].split(",")[0])
    assert (resumed - first) / (last - first) == pytest.approx(72_000 / 89_400, abs=0.01)
    busy = [Point(at, "m@1.0.0", 1.0, 1.0, 2.0, 3.0, None) for at in (0.0, 10.0, 20.0, 30.0, 90.0, 150.0, 750.0)]
    assert str(charts.rate_chart(busy)).count("<polyline") == 1


@given(st.lists(st.sampled_from([*charts.OUTCOMES, None]), max_size=30))
def test_outcome_bar_is_full(outcomes):
    counted = Counter(outcome for outcome in outcomes if outcome)
    view = RolloutView("r", "m@1.0.0", "all", "running", "", 0.0, None, devices=len(outcomes), outcomes=dict(counted))
    bar = ET.fromstring(str(charts.outcome_bar(view)))
    widths = [float(rect.get("width")) for rect in bar.iter() if rect.tag == "rect"]
    assert sum(widths) == pytest.approx(100 if outcomes else 0, abs=0.2)


WORDS = {
    words.micros: [(None, "–"), (0.4, "0 µs"), (1840, "1.84 ms"), (98_000, "98 ms")],
    words.energy: [(None, "–"), (830, "830 µJ"), (4100, "4.1 mJ")],
    words.size: [(999, "999 B"), (31_200, "31.2 kB"), (412_000, "412 kB"), (3e9, "3.0 GB")],
    words.percent: [(0, "0%"), (0.075, "7.5%"), (0.5, "50%")],
    words.figure: [(None, "–"), (0.031, "0.031"), (3.14, "3.1"), (1234.5, "1,234")],
    words.tone: [(None, "quiet"), ("rolled_back", "bad"), ("succeeded", "good"), ("probation", "busy")],
    words.span: [(3.14, "3.1 s"), (600, "10 min"), (7200, "2.0 h")],
}


@pytest.mark.parametrize("word", WORDS, ids=lambda word: word.__name__)
def test_words(word):
    assert [(value, word(value)) for value, _ in WORDS[word]] == WORDS[word]


def test_words_of_time_and_units():
    assert [words.ago(then, 7300.0) for then in (None, 7299, 7200, 0)] == ["never", "now", "2 min ago", "2 h ago"]
    assert [words.reading(0.31, "1"), words.reading(50.2, "degC"), words.reading(4e8, "B")] == [
        "31%",
        "50.2 °C",
        "400 MB",
    ]


def test_an_alarm_is_on_the_page_in_the_api_and_in_the_metrics(scene, client):
    """Case I8 of the threat table: wherever somebody looks."""
    text = "two devices speak under this id <b>"
    with scene.registry.write() as session:
        alarms.sound(session, alarms.Alarm("shelf-02", alarms.CLONED, 1.0, 1.0, text))
    try:
        assert "two devices with one id" in client.get("/").text
        page = client.get("/devices/shelf-02").text
        assert "two devices speak under this id &lt;b&gt;" in page
        assert 'skerry_device_alarms{alarm="cloned"} 1.0' in client.get("/metrics").text
        (found,) = [each for each in client.get("/api/v1/devices").json() if each["id"] == "shelf-02"]
        assert [each["kind"] for each in found["alarms"]] == ["cloned"]
    finally:
        with scene.registry.write() as session:
            alarms.end(session, "shelf-02", 2.0)
