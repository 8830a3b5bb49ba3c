"""The monitor's page on screens of several sizes: nothing is broken, nothing important is beyond the edge."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time

import pytest
from rich.cells import cell_len

from skerry_host.cli.monitor_page import Screen, Seen, ordered, page, room_for_devices
from skerry_host.fleet.device import Device
from skerry_host.plane.registry.database import open_registry
from skerry_host.plane.registry.records import devices
from skerry_host.plane.registry.tables import TwinRow
from skerry_host.plane.views.briefs import Brief, Briefs
from skerry_host.plane.views.plane_state import PlaneView
from skerry_host.plane.views.views import AlarmView, DeviceView, ModelView, Point, RolloutView, Totals
from tests.kit.commands import _environment, skerry
from tests.kit.home import make_home

NOW = 1_800_000_000.0
LONGEST = "a" * 41
RUNS = PlaneView("running", NOW, 1, "h", "1")
SIZES = [Screen(80, 24), Screen(120, 40), Screen(60, 10), Screen(160)]


def model(state="idle", *, serving=True, release="fashion@1.1.0", **others):
    point = Point(NOW - 5, release, 12.5, 900.0, 1200.0, 2000.0, 1900.0)
    return ModelView(
        "fashion", release, None, None, state, serving, points=(point,), energy_source="modelled", **others
    )


def device(name, *models, online=True, issues=(), alarms=()):
    return DeviceView(
        name, "generic-x86", (), ("cpu",), online, "1", NOW - 4, 1, 1, models, issues=issues, measured=NOW - 4,
        interval_s=10.0, alarms=alarms,
    )  # fmt: skip


def brief(view):
    failed = any(each.outcome == "rolled_back" for each in view.models)
    conditions = tuple(each.condition for each in view.models)
    sounding = tuple(alarm.kind for alarm in view.alarms)
    enrolled = Device(view.id, view.board)
    return Brief(enrolled, view.online, view.last_seen, conditions, failed, len(view.issues), sounding)


def fleet(count):
    """Most are well; a few are not, and their names come last."""
    views = [device(f"shelf-{number:04}", model()) for number in range(count - 4)]
    odd = [
        device("z-offline", model(), online=False),
        device("z-rolled-back", model(outcome="rolled_back", attempted="fashion@1.2.0")),
        device("z-unwell", model(), issues=("no_model",)),
        device("z-fetching", model("fetching")),
    ]
    return [*views, *odd]


def seen(views, rollouts=(), plane=RUNS, screen=None):
    briefs = [brief(view) for view in views]
    by_name = {view.id: view for view in views}
    totals = Totals(len(views), sum(bool(view.online) for view in views), 12.5, 1200.0, None, (), len(rollouts))
    shown = [by_name[each.id] for each in ordered(briefs)]
    made = Seen(NOW, plane, totals, briefs, rollouts, ())
    room = room_for_devices(made, screen) if screen else None
    return Seen(NOW, plane, totals, briefs, rollouts, shown[:room])


def rollout(name, devices_=501):
    return RolloutView(name, "fashion@1.2.0", "group lab", "running", "", NOW, None, (), devices_, {"succeeded": 12})


def text(lines):
    return [line.plain for line in lines]


@pytest.mark.parametrize("screen", SIZES, ids=str)
@pytest.mark.parametrize("count", [5, 26, 501])
def test_it_fits_every_screen(screen, count):
    lines = text(page(seen(fleet(count), (rollout("r-1"),), screen=screen), screen))
    assert all(cell_len(line) <= screen.width for line in lines)
    assert screen.height is None or len(lines) <= screen.height
    assert any(line.startswith("rollout r-1  fashion@1.2.0: running, 12 of 501 ended") for line in lines)
    assert f"{count - 1} of {count} devices online" in lines[0]


@pytest.mark.parametrize("screen", SIZES[:3], ids=str)
def test_what_needs_attention_is_first_and_the_rest_is_counted(screen):
    lines = text(page(seen(fleet(501), screen=screen), screen))
    table = lines[lines.index("") + 2 :]
    names = [line.split()[1] for line in table[:-1]]
    assert names[:4] == ["z-offline", "z-rolled-back", "z-unwell", "z-fetching"]
    assert table[-1].startswith(
        f"and {501 - len(names)} more (serving {501 - len(names)}): `skerry device list --limit"
    )


def test_a_device_with_an_alarm_is_first_and_says_which():
    views = [device("a-well", model()), device("z-cloned", model(), alarms=(AlarmView("cloned", "two devices"),))]
    lines = text(page(seen(views, screen=Screen(120, 40)), Screen(120, 40)))
    table = lines[lines.index("") + 2 :]
    assert table[0].split()[1] == "z-cloned"
    assert "two devices with one id" in table[0]
    assert any("two devices with one id 1" in line for line in lines[:4])


def test_hidden_ones_that_need_attention_are_named_with_the_command_that_lists_them():
    views = [device(f"off-{number:03}", model(), online=False) for number in range(100)]
    lines = text(page(seen(views, screen=Screen(80, 24)), Screen(80, 24)))
    assert lines[-1].endswith("(offline 81): `skerry device list --where state=offline`")


def test_many_rollouts_leave_room_for_devices_and_are_counted():
    running = tuple(rollout(f"r-{number:02}") for number in range(30))
    lines = text(page(seen(fleet(26), running, screen=Screen(80, 24)), Screen(80, 24)))
    assert sum(line.startswith("rollout r-") for line in lines) == 6
    assert "and 24 more rollouts: `skerry rollout status`" in lines
    assert any("z-offline" in line for line in lines)


@pytest.mark.parametrize("screen", SIZES, ids=str)
def test_the_longest_name_is_whole_at_any_width(screen):
    wide = device("大" * 20, model(release="m" * 63 + "@1.0.0"))
    lines = text(page(seen([device(LONGEST, model(release="m" * 63 + "@1.0.0")), wide], screen=screen), screen))
    assert any(LONGEST in line for line in lines)
    assert all(cell_len(line) <= screen.width for line in lines)


def test_a_model_that_serves_is_not_idle():
    lines = text(page(seen([device("dev-1", model()), device("dev-2", model(serving=False))]), Screen(120)))
    assert "serving" in next(line for line in lines if "dev-1" in line)
    assert "not serving" in next(line for line in lines if "dev-2" in line)
    assert not any("idle" in line for line in lines)


def test_without_a_plane_nobody_is_said_to_be_online():
    gone = PlaneView("lost", NOW - 180, 1, "h", "1")
    views = [device("dev-1", model(), online=None)]
    lines = text(page(seen(views, plane=gone), Screen(100, 24)))
    assert lines[0].startswith("the plane is not running since ")
    assert lines[1].startswith("? of 1 devices online, ? inferences/s")
    assert "12.5" not in lines[-1], "nor are its figures those of now"
    assert "unknown" in lines[-1]


@pytest.mark.parametrize("idle_s", [60.0, 180.0, 600.0])
def test_a_model_that_nobody_asks_has_a_rate_of_0(idle_s):
    busy = Point(NOW - idle_s, "m@1.0.0", 2.5, 900.0, 900.0, 900.0, 1.0)
    quiet = [Point(NOW - age, "m@1.0.0", 0.0, None, None, None, None) for age in range(int(idle_s) - 10, 0, -10)]
    view = ModelView("m", "m@1.0.0", None, None, "idle", serving=True, points=(busy, *quiet))
    assert view.newest.inferences_per_s == 0.0
    assert view.newest.p50_us == (900.0 if idle_s < 120 else None)


def test_in_a_pipe_it_is_one_plain_snapshot_of_all(tmp_path):
    home = make_home(tmp_path / "home")
    with open_registry(home.registry) as registry, registry.write() as session:
        for number in range(60):
            devices.add(session, Device(f"{'n' * 37}-{number:03}", "generic-x86", targets=("cpu",)), 1.0)
    began = time.monotonic()
    done = skerry(home, "monitor")
    assert time.monotonic() - began < 20, "it did not go on for ever"
    assert "\x1b" not in done.stdout
    assert sum("n-0" in line for line in done.stdout.splitlines()) == 60


@pytest.mark.system
@pytest.mark.parametrize(("columns", "lines"), [(80, 24), (120, 40)])
def test_a_real_terminal_is_filled_and_given_back(tmp_path, columns, lines):
    home = make_home(tmp_path / "home")
    with open_registry(home.registry) as registry, registry.write() as session:
        for number in range(60):
            devices.add(session, Device(f"{'n' * 37}-{number:03}", "generic-x86", targets=("cpu",)), 1.0)
    first, drawn = in_a_terminal(home, columns, lines, until=b"more (unknown")
    text_ = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", first)
    shown = [line for line in text_.replace("\r", "").split("\n") if line.strip()]
    assert len(shown) <= lines
    assert all(cell_len(line) <= columns for line in shown)
    assert sum(f"{'n' * 37}-0" in line for line in shown) == lines - 6
    assert drawn.count("\x1b[?1049h") == drawn.count("\x1b[?1049l") == 1, "the screen of before comes back"


def in_a_terminal(home, columns, lines, until):
    """What `skerry monitor` writes to a terminal of a size: up to a text, and up to its end by Ctrl-C."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
    command = [sys.executable, "-m", "skerry_host.cli", "--home", str(home.root), "monitor", "--interval", "60"]
    environment = {**_environment(), "TERM": "xterm-256color"}
    environment = {name: value for name, value in environment.items() if name not in {"COLUMNS", "LINES"}}
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment) as process:
        os.close(theirs)
        first = _read(ours, until)
        process.send_signal(signal.SIGINT)
        rest = _read(ours, b"\x1b[?1049l")
        assert process.wait(20) == 0
    os.close(ours)
    return first.decode("utf-8", "replace"), (first + rest).decode()


def _read(terminal, until):
    read = b""
    while until not in read and select.select([terminal], [], [], 60.0)[0]:
        read += os.read(terminal, 65_536)
    return read


def test_only_what_changed_is_read_again(tmp_path):
    with open_registry(tmp_path / "r.sqlite") as registry:
        with registry.write() as session:
            for name in ("dev-1", "dev-2"):
                devices.add(session, Device(name, "generic-x86", targets=("cpu",)), 1.0)
        briefs = Briefs()
        with registry.read() as session:
            first = briefs.read(session, connected=True)
            again = briefs.read(session, connected=False)
        assert [(each.id, each.online) for each in first] == [("dev-1", False), ("dev-2", False)]
        assert [each.online for each in again] == [None, None]
        with registry.write() as session:
            session.get_one(TwinRow, "dev-1").online = True
            devices.add(session, Device("dev-3", "generic-x86", targets=("cpu",)), 1.0)
        with registry.read() as session:
            assert [(each.id, each.online) for each in briefs.read(session, connected=True)] == [
                ("dev-1", True), ("dev-2", False), ("dev-3", False),
            ]  # fmt: skip
