"""`skerry device watch`: a device is asked to report often, its reports are shown, and it ends with who looks."""

import json
import signal
import subprocess
import sys
import threading
import time

import pytest

from skerry_agent.wire.telemetry import Sample
from tests.kit.commands import _environment, serving, skerry, skerry_process
from tests.kit.device import BrokerPort, FakeDevice, Faults
from tests.kit.home import make_home
from tests.kit.programs import require_program
from tests.kit.waiting import eventually

pytestmark = pytest.mark.system


class Fleet:
    """A serving plane and one device, which reports all the time."""

    def __init__(self, home, url):
        self.home, self.url = home, url
        self.device = None
        self.over = threading.Event()

    def join(self, *, reports=True, **faults):
        skerry(self.home, "device", "provision", "lab-01", "--board", "generic-x86", "--broker", self.url)
        self.device = FakeDevice("lab-01", BrokerPort(self.url), Faults(**faults))
        self.device.connect()
        eventually(self.online, "it is online")
        self.reporting = threading.Thread(target=self._report)
        if reports:
            self.reporting.start()

    def online(self):
        return json.loads(skerry(self.home, "device", "show", "lab-01", "--json").stdout)["device"]["online"]

    def _report(self):
        while not self.over.wait(0.3):
            self.device.telemetry(samples=(Sample("power", time.monotonic(), "W", "measured"),))

    def leave(self):
        self.over.set()
        if self.device is not None:
            if self.reporting.is_alive():
                self.reporting.join()
            self.device.crash()


@pytest.fixture
def fleet(tmp_path):
    require_program("mosquitto", "mosquitto")
    home = make_home(tmp_path / "home")
    with serving(home, "--port", "0", "--no-http") as plane:
        made = Fleet(home, plane.broker)
        yield made
        made.leave()


def test_reports_are_shown_as_they_come_for_as_long_as_ordered(fleet):
    fleet.join()
    began = time.monotonic()
    done = skerry_process(fleet.home, "device", "watch", "lab-01", "--seconds", "3", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    shown = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(shown) >= 2
    assert all(view["id"] == "lab-01" for view in shown)
    assert time.monotonic() - began >= 3
    assert fleet.device.watched == [3.0]


def test_what_came_before_is_not_shown_as_if_it_came_now(fleet):
    fleet.join(reports=False)
    fleet.device.telemetry(samples=(Sample("power", 1.0, "W", "measured"),))
    show = "device", "show", "lab-01", "--json"
    eventually(lambda: json.loads(skerry(fleet.home, *show).stdout)["device"]["samples"], "the report is stored")
    done = skerry_process(fleet.home, "device", "watch", "lab-01", "--seconds", "1", "--json")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_who_stops_looking_ends_it_on_the_device(fleet):
    fleet.join()
    command = [sys.executable, "-m", "skerry_host.cli", "--home", str(fleet.home.root), "device", "watch", "lab-01"]
    watching = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=_environment())
    assert "reports every 1 s" in watching.stdout.readline()
    watching.send_signal(signal.SIGINT)
    _, errors = watching.communicate(timeout=20)
    assert (watching.returncode, errors) == (0, "")
    eventually(lambda: fleet.device.watched == [600.0, 0.0], "the device is told")


def test_an_agent_of_before_says_so_in_one_line(fleet):
    fleet.join(knows_no_watch=True)
    done = skerry(fleet.home, "device", "watch", "lab-01", check=False)
    assert done.returncode == 1
    assert "lab-01 cannot be watched: this agent does not know the command 'watch'" in done.stderr
    assert done.stderr.count("\n") == 1
    assert fleet.device.watched == [600.0]


def test_without_a_plane_nobody_is_asked(tmp_path):
    home = make_home(tmp_path / "home")
    skerry(home, "device", "provision", "lab-01", "--board", "generic-x86", "--broker", "mqtt://127.0.0.1:1")
    done = skerry(home, "device", "watch", "lab-01", check=False)
    assert (done.returncode, "nobody sends the order: the plane has never run here" in done.stderr) == (1, True)
    done = skerry(home, "device", "watch", "nobody", check=False)
    assert done.returncode == 2


def test_a_device_that_is_offline_is_not_asked_by_a_plane_that_runs(fleet):
    skerry(fleet.home, "device", "provision", "lab-01", "--board", "generic-x86", "--broker", fleet.url)
    done = skerry(fleet.home, "device", "watch", "lab-01", check=False)
    assert (done.returncode, "lab-01 is offline" in done.stderr) == (1, True)
