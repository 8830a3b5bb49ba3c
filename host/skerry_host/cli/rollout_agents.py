"""`skerry rollout start|plan` of a release of the agent: the same commands, for what is no model."""

import time
from typing import TYPE_CHECKING, Any

from skerry_agent.wire.runtimes import RuntimeManifest
from skerry_host.cli.chosen import Chosen, of_all, refused_lines
from skerry_host.cli.common import console, emit_json, size, table, warn
from skerry_host.fleet.policy import Policy
from skerry_host.fleet.several import Several
from skerry_host.plane.registry.records import twins
from skerry_host.plane.rollouts import agents
from skerry_host.release.errors import ReleaseError
from skerry_host.release.runtime_store import RuntimeStore
from skerry_host.release.store import Store

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from skerry_host.fleet.device import Device
    from skerry_host.plane.views.plane_state import PlaneView


def agent_named(store: Store, name: str) -> RuntimeManifest | None:
    """The agent of that name, where no model's release has it. Raises `ReleaseError` where there is neither."""
    try:
        store.release(name)
    except ReleaseError:
        found = RuntimeStore(store).find(name)
        if found is None or found.kind != "agent":
            raise
        return found
    return None


class AgentRollout:
    """What was asked for: an agent for some devices."""

    def __init__(self, store: Store, manifest: RuntimeManifest) -> None:
        self._runtimes, self._manifest = RuntimeStore(store), manifest

    def able(self, session: "Session", chosen: Chosen) -> "Several[tuple[Device, int]]":
        """The devices that can be given it. Raises `FleetError` where none can."""
        return agents.fitting_devices(session, self._runtimes, self._manifest, chosen.devices, chosen.refused)

    def start(self, session: "Session", chosen: Chosen, policy: Policy) -> "Started":
        """Record it."""
        able = self.able(session, chosen)
        request = agents.AgentRequest(self._manifest, list(able.done.values()), chosen.selection, policy)
        rollout = agents.start_agent_rollout(session, request, time.time())
        return Started(rollout, self._manifest.full_name, able, chosen)

    def plan(self, session: "Session", chosen: Chosen, as_json: bool) -> int:
        """Show which agent each device runs, and how many bytes it would download; the exit status."""
        able = self.able(session, chosen)
        known = twins.of(session, able.done)
        rows = [
            {"device": name, "agent": known[name].agent, "release": self._manifest.full_name, "bytes_expected": count}
            for name, (_, count) in able.done.items()
        ]
        if as_json:
            emit_json([*rows, *able.refused])
            return able.exit_code
        made = table("device", "agent", ">bytes")
        for row in rows:
            made.add_row(str(row["device"]), str(row["agent"] or "-"), size(int(str(row["bytes_expected"]))))
        console().print(made)
        warn(refused_lines("left out", able.refused))
        return able.exit_code


class Started:
    """A rollout of an agent that was recorded."""

    def __init__(self, rollout: str, release: str, able: "Several[tuple[Device, int]]", chosen: Chosen) -> None:
        self.rollout, self.release, self.able, self._chosen = rollout, release, able, chosen

    def data(self, plane: "PlaneView") -> dict[str, Any]:
        """As JSON."""
        ordered = {"rollout": self.rollout, "release": self.release, "devices": list(self.able.done)}
        return ordered | {"refused": self.able.refused, "plane": plane}

    def text(self) -> str:
        """For a terminal."""
        head = f"rollout {self.rollout}: agent {self.release} to {of_all(self.able)} ({self._chosen.selection})"
        return "\n".join([head, *refused_lines("left out", self.able.refused)])
