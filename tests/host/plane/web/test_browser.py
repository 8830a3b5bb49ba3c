"""The page in a real browser: it draws, its script runs under its own policy, and it keeps itself fresh."""

import contextlib
import re
import subprocess

import pytest

from skerry_agent.wire.telemetry import Sample
from skerry_agent.wire.twin import ModelReport
from skerry_host.plane.registry.records import rollouts
from skerry_host.plane.views.counters import Counters
from skerry_host.plane.web.server import WebServer
from tests.host.plane.web.scene import BOARDS, whole_story
from tests.kit.programs import require_program

pytestmark = pytest.mark.web
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run",
    "--disable-sync", "--disable-extensions", "--hide-scrollbars", "--enable-logging=stderr",
]  # fmt: skip


class Turning:
    """A registry whose `read` lets something happen before a certain time that it is read."""

    def __init__(self, registry, turn, what):
        self._registry, self._turn, self._what, self._reads = registry, turn, what, 0

    @contextlib.contextmanager
    def read(self):
        self._reads += 1
        if self._reads == self._turn:
            self._what()
        with self._registry.read() as session:
            yield session


@pytest.fixture(scope="module")
def chromium():
    return require_program("chromium", "chromium")


@pytest.fixture
def scene(tmp_path):
    made = whole_story(tmp_path / "home")
    yield made
    made.registry.close()


def browse(chromium, tmp_path, url, *options):
    """The document as the browser has it after its script ran a while, and what was written to the console."""
    command = [chromium, *FLAGS, f"--user-data-dir={tmp_path / 'profile'}", *options, url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return done.stdout, console


def serve(registry):
    return WebServer(registry, lambda: Counters({}, 0, 1, True), 0)


def test_it_draws_every_device_and_complains_of_nothing(chromium, scene, tmp_path):
    with serve(scene.registry) as web:
        page, console = browse(chromium, tmp_path, web.url, "--dump-dom", "--virtual-time-budget=1000")
    assert console == []
    assert re.findall(r'<tr data-device="([a-z0-9-]+)"', page) == sorted(BOARDS)
    assert page.count('class="spark"') == len(BOARDS)
    assert 'id="theme">' in page, "the script has shown its button"


def test_it_refreshes_itself(chromium, scene, tmp_path):
    with serve(Turning(scene.registry, 3, lambda: scene.lose("dock-07"))) as web:
        page, console = browse(chromium, tmp_path, web.url, "--dump-dom", "--virtual-time-budget=9000")
    assert console == []
    assert "<title>Skerry · 2 of 4 online</title>" in page
    assert 'data-state="live"' in page


def test_pages_of_a_device_and_a_rollout(chromium, scene, tmp_path):
    with scene.registry.read() as session:
        newest = rollouts.latest(session)[0].id
    with serve(scene.registry) as web:
        device, first = browse(chromium, tmp_path, f"{web.url}/devices/shelf-01", "--dump-dom")
        rollout, second = browse(chromium, tmp_path, f"{web.url}/rollouts/{newest}", "--dump-dom")
    assert first == second == []
    assert device.count('class="chart"') == 3
    assert rollout.count("latency over budget") == len(BOARDS)


@pytest.mark.parametrize("size", ["1440,1000", "390,844"])
def test_screenshots_are_not_blank(chromium, scene, tmp_path, size):
    picture = tmp_path / "page.png"
    with serve(scene.registry) as web:
        browse(chromium, tmp_path, web.url, f"--window-size={size}", f"--screenshot={picture}")
    assert picture.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert picture.stat().st_size > 20_000


def test_text_of_a_device_is_text_to_a_browser(chromium, scene, tmp_path):
    """Neither its markup nor its script becomes one, in the text of a page or in an attribute, and none is reversed."""
    evil = "</span><script>document.title='owned'</script>\"onmouseover='x'\u202egnp\x1b[2J"
    device = scene.devices["dock-07"]
    device.kept.models = {evil: ModelReport("idle", serving=True), **device.kept.models}
    device.say()
    sample = Sample("power", 3.0, "W", "measured", evil)
    device.report((), (sample,), scene.now)
    with serve(scene.registry) as web:
        for path in ("/", "/devices/dock-07"):
            address = f"{web.url}{path}"
            page, console = browse(chromium, tmp_path, address, "--dump-dom", "--virtual-time-budget=1000")
            assert console == []
            assert "<title>owned" not in page
            assert "<script>document" not in page
            assert "onmouseover" not in re.sub(r"title=\"[^\"]*\"|>[^<]*<", "", page), "it is in no attribute's place"
            assert not set("\u202e\x1b") & set(page)
            assert "gnp" in page, "it is shown"
