"""Devices that are away for days, with clocks that jump, while the plane and the broker behind them are restarted.

Every row is one device: a real agent with its runner. All of a broker's are away at once, behind one proxy. Their wall
clocks are shifted; the monotonic ones cannot be, so the intervals between reports are short instead.
"""

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from skerry_agent.state.outbox import BLOCK_BYTES
from skerry_host.cli.demo.client import Client
from skerry_host.home import Home
from skerry_host.plane.broker.broker import free_port
from tests.kit.commands import Serving, serving, skerry
from tests.kit.proxy import Proxy
from tests.kit.waiting import eventually
from tests.system.away import DAY, INTERVAL_S, Away, Seen, waits_for_its_hour
from tests.system.fleet import FIRST, SECOND, Broker, running

pytestmark = pytest.mark.system

AWAY_S = 8.0
PATIENCE_S = 90.0
YEAR = 365.25 * DAY
BEGAN = time.time()
NOT_NOW = time.strftime("%H:00-%H:01", time.localtime(BEGAN + 12 * 3600))

Shift = Callable[[float], float]


def right(_share: float) -> float:
    """A clock as the host's."""
    return 0.0


def passing(days: float) -> Shift:
    """So many days pass, and it is right in the end."""
    return lambda share: -days * DAY * (1 - share)


def set_late(share: float) -> float:
    """A device without a clock of its own boots in 1970; somebody sets it half-way."""
    return -BEGAN if share < 0.5 else 0.0


def jumps(years: float) -> Shift:
    """It jumps half-way, and stays wrong."""
    return lambda share: years * YEAR if share >= 0.5 else 0.0


@dataclass(frozen=True)
class Row:
    """One device, and what shall become of it.

    `clock`: seconds by which it is wrong after a share (0..1) of the absence. `most_bytes`, `most_reports`: the bounds
    of its outbox, which it shall reach. `before`: options of a deployment that it is told of before it goes, instead of
    one that is ordered meanwhile; `ends`: that one's outcome and reason. `killed`: it is, and started again, and finds
    `earlier` reports more. `days`: what its reports shall span. `persistent`: what its broker is, which is restarted.
    """

    name: str
    persistent: bool
    clock: Shift = right
    most_bytes: int | None = None
    most_reports: int | None = None
    before: tuple[str, ...] = ()
    ends: tuple[str, str] = ("succeeded", "")
    killed: bool = False
    earlier: int = 0
    days: float = 0.0

    @property
    def bounded(self) -> bool:
        """Whether anything shall be dropped."""
        return bool(self.most_bytes or self.most_reports)

    @property
    def bounds(self) -> str:
        """Lines of agent.toml."""
        lines = [f"outbox_bytes = {self.most_bytes}"] if self.most_bytes else []
        days = (self.most_reports or 0) * INTERVAL_S / DAY
        return "\n".join([*lines, f"outbox_days = {days}"] if days else lines)


LATE = ("--deadline", "6", "--silence", "600", "--hours", NOT_NOW)
KEEPS, FORGETS = True, False
ROWS = [
    Row("three-days", KEEPS, passing(3.0), killed=True, earlier=2000, days=3.0),
    Row("more-than-the-bytes", KEEPS, most_bytes=5 * BLOCK_BYTES),
    Row("in-1970-until-set", KEEPS, set_late),
    Row("past-its-deadline", KEEPS, before=LATE, ends=("timed_out", "deadline")),
    Row("older-than-the-days", FORGETS, most_reports=5),
    Row("ten-years-ahead", FORGETS, jumps(10)),
    Row("ten-years-back", FORGETS, jumps(-10)),
    Row("killed-in-1970", FORGETS, set_late, killed=True),
]


@contextlib.contextmanager
def absence(everyone: list[Away]) -> Iterator[None]:
    """`AWAY_S` seconds at least, in which the clocks go their own ways and the outboxes are watched."""
    began, over = time.monotonic(), threading.Event()

    def look(share: float) -> None:
        for each in everyone:
            each.set_clock(each.row.clock(share))
            each.look()

    def go() -> None:
        while not over.wait(0.03):
            look(min(1.0, (time.monotonic() - began) / AWAY_S))

    watch = threading.Thread(target=go)
    watch.start()
    try:
        yield
        time.sleep(max(0.0, began + AWAY_S - time.monotonic()))
    finally:
        over.set()
        watch.join()
        look(1.0)


def order(home: Home, everyone: list[Away], *options: str) -> None:
    """One rollout of the second release to some devices."""
    chosen = [part for each in everyone for part in ("--device", each.device.id)]
    said = skerry(home, "rollout", "start", SECOND, *chosen, "--silence", "600", *options, "--json").stdout
    for each in everyone:
        each.rollout = json.loads(said)["rollout"]


def begin(home: Home, everyone: list[Away], stack: contextlib.ExitStack) -> None:
    """All serve and have a client that asks all the time; some are told what they shall do, and wait for their hour."""
    for each in everyone:
        each.set_clock(each.row.clock(0.0))
        each.device.start()
    for each in everyone:
        eventually(lambda each=each: each.serves(FIRST), f"{each.device.id} serves; {each.device.tail()}", PATIENCE_S)
        if not each.row.killed:
            each.client = stack.enter_context(Client(each.status().http["fashion"], "fashion"))
        if each.row.before:
            order(home, [each], *each.row.before)
            eventually(lambda each=each: waits_for_its_hour(each.status()), "it waits for its hour", PATIENCE_S)


def meanwhile(home: Home, plane: Serving, broker: Broker, everyone: list[Away]) -> None:
    """What happens behind the backs of those who are away, and to some of them."""
    order(home, [each for each in everyone if not each.row.before])
    plane.kill()
    broker.restart()
    plane.start()
    for each in everyone:
        if each.row.killed:
            each.device.kill()
            each.find_earlier_reports()
            each.device.start()


def settled(home: Home, everyone: list[Away]) -> dict[str, list[str]]:
    """What is still wrong with each device when nothing is, or when the patience is at its end."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        seen = {each.row.name: Seen(home, each) for each in everyone}
        found = {each.row.name: seen[each.row.name].complaints() for each in everyone}
        wrong = {name: complaints for name, complaints in found.items() if complaints}
        if not wrong or time.monotonic() > deadline:
            return wrong
        time.sleep(0.3)


@pytest.mark.parametrize("persistent", [KEEPS, FORGETS], ids=["persistent", "forgetful"])
def test_those_who_were_away_lose_nothing_and_do_what_was_ordered(home, installed, tmp_path, persistent):
    broker, door = Broker(tmp_path / "broker", free_port(), persistent=persistent), free_port()
    with contextlib.ExitStack() as stack:
        stack.enter_context(running(broker))
        broker.start()
        port = int(broker.url.rpartition(":")[2])
        plane = stack.enter_context(serving(home, "--broker", broker.url, "--no-http"))
        rows = [row for row in ROWS if row.persistent is persistent]
        everyone = [Away(row, home, f"mqtt://127.0.0.1:{door}", tmp_path, installed) for row in rows]
        stack.enter_context(running(*(each.device for each in everyone)))
        with Proxy(port, port=door):
            begin(home, everyone, stack)
        with absence(everyone):
            meanwhile(home, plane, broker, everyone)
        for each in everyone:
            each.come_back()
        with Proxy(port, port=door):
            assert settled(home, everyone) == {}
