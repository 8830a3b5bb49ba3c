"""Estimates how many bytes a rollout would send to each device, by patch or in full. Reads only; starts nothing.

It chooses as the device itself would (`skerry_agent.wire.routes`), by what the device reports: its files, and the patch
format that it applies.
"""

from collections.abc import Iterable

from msgspec import Struct
from msgspec.structs import replace
from sqlalchemy.orm import Session

from skerry_agent.wire.manifest import Release
from skerry_agent.wire.routes import cheapest, newest_patch_format
from skerry_agent.wire.targets import TargetName
from skerry_agent.wire.twin import Reported
from skerry_host.fleet.device import Device
from skerry_host.plane.registry.records import twins
from skerry_host.release.compare import Transfer, transfer
from skerry_host.release.fitting import Fit, spare_of
from skerry_host.release.runtime_choice import current_slot
from skerry_host.release.store import Store


class Forecast(Struct, frozen=True):
    """One device: the release that it holds, how the model would come (patch, full, held), and how many bytes.

    `meanwhile`: why the cpu's bundle would serve at first. `unknown`: what it needs that is not known of the device.
    `runtime` is what it would run with, empty for the base environment's, and `runtime_bytes` those of it that it would
    download, in `bytes_expected` and `full_bytes`, too. `rollback` is what it would go back to, and with what.
    """

    device: str
    target: TargetName
    holds: str | None
    path: str
    bytes_expected: int
    full_bytes: int
    meanwhile: str = ""
    unknown: tuple[str, ...] = ()
    runtime: str = ""
    runtime_bytes: int = 0
    rollback: str = ""


def forecast(session: Session, store: Store, release: Release, fitting: Iterable[tuple[Device, Fit]]) -> list[Forecast]:
    """A row for each device that can run the release, as `intake.fitting_targets` has found them."""
    return [_of(session, store, release, device, fits) for device, fits in fitting if fits.target is not None]


def _of(session: Session, store: Store, release: Release, device: Device, fits: Fit) -> Forecast:
    target = fits.target
    assert target is not None
    reported = twins.find(session, device.id).reported
    held, holds = _held(store, reported, release.model)
    bundle, patches = release.bundle(target), release.patches_up_to(newest_patch_format(reported))
    moved = transfer(patches, bundle, held)
    route = cheapest(patches, held, bundle.model.blob.sha256)
    path = "full" if route is None else f"{len(route)} patches" if len(route) > 1 else "patch" if route else "held"
    meanwhile = "; ".join(found.detail for found in fits.meanwhile)
    beside = _spare(release, device, reported, (target, held))
    fetched = moved.fetched + fits.runtime_bytes + (beside.fetched if beside else 0)
    full = moved.full + fits.runtime_bytes + (beside.full if beside else 0)
    back, of_runtime = _rollback(reported, release.model), (fits.runtime, fits.runtime_bytes)
    return Forecast(device.id, target, holds, path, fetched, full, meanwhile, fits.unknown, *of_runtime, back)


def _spare(
    release: Release, device: Device, reported: Reported | None, given: tuple[TargetName, set[str]]
) -> Transfer | None:
    """What a device keeps beside a bundle for an accelerator; agents that do not say what they are keep nothing."""
    target, held = given
    spare = spare_of(release, target, device.targets)
    if spare is None or reported is None or reported.facts is None:
        return None
    shared = {artifact.blob.sha256 for artifact in release.bundle(target).artifacts}
    own = replace(spare, artifacts=tuple(a for a in spare.artifacts if a.blob.sha256 not in shared))
    return transfer(release.patches_up_to(newest_patch_format(reported)), own, held)


def _rollback(reported: Reported | None, model: str) -> str:
    """What the current slot will be once it is the previous one; empty where there is nothing to go back to."""
    current = current_slot(model, reported)
    if current is None:
        return ""
    return f"{current.release} with {current.runtime or 'the base runtime'}"


def _held(store: Store, reported: Reported | None, model: str) -> tuple[set[str], str | None]:
    """The files in a device's slots, and the release it runs."""
    found = reported.models.get(model) if reported else None
    slots = [slot for slot in (found.current, found.previous) if slot] if found else []
    current = found.current.release if found and found.current else None
    return {sha256 for slot in slots for sha256 in store.files_of(slot)}, current
