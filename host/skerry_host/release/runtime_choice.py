"""Which runtime a rollout gives a device, and why it cannot: the host's half of the rule, before anything is sent.

A slot carries its runtime, so a rollback needs none of what is ordered now: what it needs is that the runtime of the
slot that becomes the previous one is on the device, and stays there. Reads only; pure but for the store.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from skerry_agent.wire.admission import DeviceFacts, Needs, obstacles
from skerry_agent.wire.admission import Obstacle as Lack
from skerry_agent.wire.blobs import BlobRef
from skerry_agent.wire.runtimes import BASE, RuntimeManifest, Wheelhouse
from skerry_agent.wire.twin import Assignment, Reported, SlotReport
from skerry_host.release.errors import ReleaseError
from skerry_host.release.runtime_store import RuntimeStore

RESERVE_BYTES = 4 * 1024 * 1024
"""What a device keeps free on its disk, whatever is ordered."""


@dataclass(frozen=True)
class RuntimeChoice:
    """What was asked for: the name of a runtime, `base`, or nothing: each device keeps what it has."""

    store: RuntimeStore
    wanted: str = ""

    def check(self) -> None:
        """Raise `ReleaseError` where there is no such runtime, or it is an agent."""
        if self.wanted not in {"", BASE}:
            self.store.of_kind(self.wanted, "runtime")

    def of(self, model: str, reported: Reported | None, assigned: Assignment | None) -> RuntimeManifest | None:
        """The runtime of one device; None for that of its base environment.

        What it keeps is what it says that it runs, by this host's store; `ReleaseError` where that lacks it.
        """
        if self.wanted:
            return None if self.wanted == BASE else self.store.of_kind(self.wanted, "runtime")
        name = self._kept(model, reported, assigned)
        return self.store.of_kind(name, "runtime") if name else None

    def bytes_for(self, manifest: RuntimeManifest, reported: Reported | None) -> int:
        """What a device downloads of a runtime; the largest wheelhouse where it is not known which it takes."""
        if holds(reported, self.store.manifest_ref(manifest.full_name).sha256):
            return 0
        house = wheelhouse_for(manifest, reported)
        return max(each.artifact.size for each in ([house] if house is not None else manifest.wheelhouses))

    def _kept(self, model: str, reported: Reported | None, assigned: Assignment | None) -> str:
        current = current_slot(model, reported)
        if current is not None:
            return current.runtime
        if assigned is None or assigned.runtime is None:
            return ""
        found = self.store.named(assigned.runtime.sha256)
        if found is None:
            sha256 = assigned.runtime.sha256[:12]
            raise ReleaseError(f"the store lacks the runtime {sha256} that the device was given", code="no_runtime")
        return found


def current_slot(model: str, reported: Reported | None) -> SlotReport | None:
    """What a device says that it runs of a model."""
    found = reported.models.get(model) if reported is not None else None
    return found.current if found is not None else None


def wheelhouse_for(manifest: RuntimeManifest, reported: Reported | None) -> Wheelhouse | None:
    """That of the device's machine and Python; None where these are not known, or there is none."""
    facts = reported.facts if reported is not None else None
    return manifest.find(facts.machine, facts.python) if facts is not None else None


def holds(reported: Reported | None, manifest_sha256: str) -> bool:
    """Whether a device has installed a runtime: a slot of it, of any model, runs with it."""
    models = reported.models.values() if reported is not None else ()
    slots = (slot for model in models for slot in (model.current, model.previous, model.candidate) if slot is not None)
    return any(slot.runtime_sha256 == manifest_sha256 and not slot.runtime_gone for slot in slots)


def runtime_refs(manifest: RuntimeManifest, ref: BlobRef, reported: Reported | None) -> list[BlobRef]:
    """What a device fetches for a runtime that it has not: the manifest (`ref`), and the wheelhouse for it.

    Every one of them, where it is not known what the device is.
    """
    if holds(reported, ref.sha256):
        return []
    house = wheelhouse_for(manifest, reported)
    return [ref, *(each.artifact for each in ([house] if house is not None else manifest.wheelhouses))]


def lacks(manifest: RuntimeManifest, manifest_sha256: str, reported: Reported | None, model: str) -> tuple[Lack, ...]:
    """What is known to be in the way of a runtime on a device; nothing where it has it, or nothing is known of it."""
    if reported is None:
        return ()
    current = current_slot(model, reported)
    if current is not None and current.runtime_gone and current.runtime_sha256 != manifest_sha256:
        return (lost_rollback(current),)
    return () if holds(reported, manifest_sha256) else tuple(_lacks(manifest, reported.facts))


def lost_rollback(current: SlotReport) -> Lack:
    """Why nothing may come after a slot whose runtime is gone: what would be gone back to could not run as it did."""
    detail = f"a rollback could not run {current.release} as it ran: its runtime {current.runtime} is not on the device"
    return Lack("rollback_without_runtime", f"{detail} any more")


def _lacks(manifest: RuntimeManifest, facts: DeviceFacts | None) -> Iterator[Lack]:
    if facts is None:
        yield Lack("agent_too_old", f"its agent knows no runtimes, so it cannot be given {manifest.full_name}")
        return
    if not facts.machine or not facts.python:
        return
    house = manifest.find(facts.machine, facts.python)
    if house is None:
        there = ", ".join(each.tag for each in manifest.wheelhouses)
        detail = f"{manifest.full_name} is for {there}, the device is {facts.python}-{facts.machine}"
        yield Lack("no_wheelhouse", detail)
        return
    room = house.installed_bytes + 2 * house.artifact.size + RESERVE_BYTES
    needs = Needs(glibc=house.glibc, disk_bytes=room)
    for found in obstacles(needs, facts):
        why = ": the runtime of before stays beside it, for a rollback" if found.code == "not_enough_disk" else ""
        yield Lack(found.code, f"{manifest.full_name}: {found.detail}{why}")
