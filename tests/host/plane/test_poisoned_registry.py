"""Any value that a column can hold, in any row that a device's messages or a hand may have written: the plane starts.

Case T2 of the threat table. One generation of 2**63 - 1 ended the plane at the next rollout, and at every start.
The steps are those of a tick, in its order; what is damaged may stay undone, but no other device's rollout.
"""

import shutil
import sqlite3
from contextlib import contextmanager

import pytest

from skerry_agent.wire import codec, topics
from skerry_agent.wire.twin import DeviceState, Reported
from skerry_host.fleet.device import Device
from skerry_host.fleet.policy import Policy
from skerry_host.plane.broker.link import Incoming
from skerry_host.plane.delivery.publish import Publisher
from skerry_host.plane.ingest.ingest import Ingest
from skerry_host.plane.registry.database import open_registry
from skerry_host.plane.registry.records import alarms, devices, rollouts
from skerry_host.plane.registry.tables import Base
from skerry_host.plane.registry.telemetry.sql import SqlTelemetry
from skerry_host.plane.rollouts.director import Director
from skerry_host.plane.rollouts.intake import RolloutRequest, order_watch, start_rollout
from skerry_host.plane.rollouts.loop import RolloutLoop
from skerry_host.plane.service import run_each
from skerry_host.plane.views.briefs import Briefs
from skerry_host.plane.views.gather import overview
from skerry_host.release import keys
from tests.kit.publishing import MemoryLink
from tests.kit.rollouts import Rig, two_releases

TABLES = ("twins", "deployments", "rollouts", "orders", "boots", "telemetry_reports", "blobs", "alarms", "events")
MOST = {
    "INTEGER": 2**63 - 1,
    "BIGINT": 2**63 - 1,
    "FLOAT": 1e308,
    "BLOB": b"\xff{",
    "BOOLEAN": 1,
    "TEXT": "\x1b[2J" * 300,
    "VARCHAR": "no_such_state",
}
LEAST = {"INTEGER": -1, "BIGINT": -1, "FLOAT": -1e308, "BLOB": b"", "BOOLEAN": 0, "TEXT": "", "VARCHAR": ""}
KEYS = {"id", "device", "boot", "rollout", "kind", "sha256"}


def poison():
    """(table, values by column): each column by itself at its most, and all of a table together at their least."""
    for table in Base.metadata.sorted_tables:
        kinds = {
            column.name: str(column.type).partition("(")[0].upper()
            for column in table.columns
            if table.name in TABLES and column.name not in KEYS and not column.primary_key
        }
        for column, kind in kinds.items():
            yield pytest.param(table.name, {column: MOST[kind]}, id=f"{table.name}.{column}")
        if kinds:
            least = {column: LEAST[kind] for column, kind in kinds.items()}
            yield pytest.param(table.name, least, id=f"{table.name}, all")


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    """A home in the middle of everything: a rollout under way, one that waits, a watch, reports, an alarm."""
    rig = Rig(tmp_path_factory.mktemp("scene") / "home")
    two_releases(rig)
    rig.device.connect()
    for _ in range(3):
        rig.device.telemetry()
    with rig.registry.write() as session:
        devices.add(session, Device("dev-2", "generic-x86", targets=("cpu",)), 1.0)
        order_watch(session, "dev-1", 60.0, rig.now)
        alarms.sound(session, alarms.Alarm("dev-1", alarms.TAMPERING, 1.0, 1.0, "theirs"))
    rig.start("1.2.0")
    rig.registry.close()
    return rig


class Plane:
    """The steps of a tick, over a link in memory."""

    def __init__(self, rig, registry):
        self.registry, self.now, self.noted = registry, rig.now, []
        director = Director(keys.load(rig.home.keys, "director"), rig.store, self.clock)
        self.loop, self.ingest = RolloutLoop(registry, director, self.clock), Ingest(registry, self.clock)
        self.publisher = Publisher(registry, rig.store, MemoryLink(), self.clock, lambda _: None)
        self.store = rig.store

    def clock(self):
        return self.now

    def turn(self):
        self.now += 5.0
        run_each((self.loop.tick, self.publisher.sync, self._keep_up, self._look), self.noted.append)

    def hear(self):
        """Both devices, each of a new boot."""
        for name in ("dev-1", "dev-2"):
            said = Reported(name, "b2", 1, 0, "0.1", "generic-x86", ("cpu",))
            born = DeviceState(name, "b2", 1, online=True)
            self.ingest.apply(
                [
                    Incoming(topics.state(name), codec.encode(born)),
                    Incoming(topics.reported(name), codec.encode(said)),
                ]
            )

    def start(self):
        """A rollout to the other device."""
        with self.registry.write() as session:
            chosen = [devices.find(session, "dev-2")]
            request = RolloutRequest(self.store.release("fashion@1.0.0"), chosen, "one", Policy())
            return start_rollout(session, request, self.now)

    def _keep_up(self):
        with self.registry.write() as session:
            SqlTelemetry(session).maintain(self.now + 1e6, 1)
            alarms.end_quiet(session, self.now)

    def _look(self):
        with self.registry.read() as session:
            overview(session, self.now)
            Briefs().read(session, connected=True)


@contextmanager
def poisoned(rig, folder, table, values):
    """A plane on a copy of the registry in which some columns have these values in every row."""
    place = folder / "registry.sqlite"
    shutil.copy(rig.home.registry, place)
    with sqlite3.connect(place) as raw:
        for column, value in values.items():
            raw.execute(f"UPDATE {table} SET {column} = ?", (value,))
    raw.close()
    with open_registry(place) as registry:
        yield Plane(rig, registry)


@pytest.mark.parametrize(("table", "values"), [*poison()])
def test_a_plane_starts_and_serves_the_others_whatever_a_row_holds(scene, tmp_path, table, values):
    """Case T2 of the threat table."""
    with poisoned(scene, tmp_path, table, values) as plane:
        plane.turn()
        plane.hear()
        started = plane.start()
        for _ in range(3):
            plane.turn()
        if table == "twins" and values.keys() & {"desired", "generation"}:
            return  # both devices have it: there is nothing that could be signed for either
        with plane.registry.read() as session:
            assert rollouts.deployments(session, started)[0].sent is not None
