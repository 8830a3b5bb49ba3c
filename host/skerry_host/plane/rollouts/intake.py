"""Records in the registry what a person requests: a rollout, its abort, a rollback, a watch. Performs none of it.

The serving plane finds it there, now or at its next start. What is asked of several devices is recorded for all that
can do it, and the rest is said; of each one everything is checked before anything is written.
"""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from msgspec.structs import replace
from sqlalchemy import select
from sqlalchemy.orm import Session

from skerry_agent.wire import codec
from skerry_agent.wire.manifest import Release
from skerry_agent.wire.refusals import REFUSALS
from skerry_agent.wire.runtimes import RuntimeManifest
from skerry_agent.wire.targets import TargetName, with_fallback
from skerry_agent.wire.twin import ModelReport, Reported
from skerry_host.fleet.device import Device, choose_target
from skerry_host.fleet.errors import FleetError
from skerry_host.fleet.policy import Policy
from skerry_host.fleet.rollout import ENDED
from skerry_host.fleet.several import Refusal, Several, for_each
from skerry_host.plane.errors import UnknownError
from skerry_host.plane.registry.records import devices, events, identities, orders, rollouts, twins
from skerry_host.plane.registry.records.events import Event
from skerry_host.plane.registry.tables import DeploymentRow, OrderRow, RolloutRow
from skerry_host.plane.rollouts.recording import new_rollout, record, require_devices
from skerry_host.release.fitting import Admission, Fit, counted, fit
from skerry_host.release.obstacles import too_old
from skerry_host.release.runtime_choice import RuntimeChoice, lacks

WATCH, MOST_WATCH_S = "watch", 3600.0
REMOVAL = "remove_model"


@dataclass(frozen=True, slots=True)
class RolloutRequest:
    """A rollout as it was requested; `selection` describes the devices in words.

    `targets` of devices, where they were chosen by more than their order of preference. `admission`: who is left out.
    `runtime` was asked for: a name, `base`, or nothing; `runtimes` is what each device is to run with, by device, and
    how many bytes it downloads of it.
    """

    release: Release
    devices: Sequence[Device]
    selection: str
    policy: Policy
    targets: Mapping[str, TargetName] = field(default_factory=dict)
    admission: Admission | None = None
    runtime: str = ""
    runtimes: Mapping[str, tuple[str, int]] = field(default_factory=dict)


def start_rollout(session: Session, request: RolloutRequest, now: float) -> str:
    """Record a rollout of one wave and return its id; raises `FleetError` when no device or no target matches."""
    require_devices(request.selection, request.devices)
    offered = [bundle.target for bundle in request.release.offered]
    targets = {
        device.id: request.targets.get(device.id) or choose_target(device, offered, request.release.name)
        for device in request.devices
    }
    rollout = new_rollout(request.release.name, request.selection, request.policy, now)
    rollout.admission = codec.encode(request.admission) if request.admission is not None else None
    rollout.runtime = request.runtime
    deployments = (
        _deployment(rollout, request.release, device, targets[device], request.runtimes.get(device, ("", 0)))
        for device in targets
    )
    runtime = f" with {request.runtime}" if request.runtime else ""
    return record(session, rollout, deployments, f"{request.release.name}{runtime}")


def abort_rollout(session: Session, rollout_id: str, now: float) -> str:
    """Order the abort of a rollout and return its full id; raises `UnknownError`, or `FleetError` when it has ended."""
    row = rollouts.find(session, rollout_id)
    if row.state in ENDED:
        raise FleetError(f"rollout {row.id} has ended: {row.state}", hint="start another one", code="ended")
    row.state = "aborting"
    events.add(session, Event(now, "rollout", row.id, f"{row.release} abort ordered"))
    return row.id


def fitting_targets(
    session: Session,
    release: Release,
    chosen: Sequence[Device],
    refused: Sequence[Refusal] = (),
    runtimes: RuntimeChoice | None = None,
) -> Several[tuple[Device, Fit]]:
    """Of some devices those that can run a release, each with its target and runtime.

    Raises `FleetError` when none can. A device that has never reported may have any agent, and be anything.
    """
    offered = [bundle.target for bundle in release.offered]
    known = twins.of(session, map(_id, chosen))

    def fitting(device: Device) -> tuple[Device, Fit]:
        twin = known.get(device.id)
        reported = twin.reported if twin else None
        found = too_old(release, reported)
        if found is not None:
            raise FleetError(found.words, hint=REFUSALS[found.code].hint, code=found.code)
        choose_target(device, offered, release.name)
        assigned = twin.assignment(release.model) if twin else None
        runtime = runtimes.of(release.model, reported, assigned) if runtimes is not None else None
        if runtime is not None and runtimes is not None:
            _require_runtime(runtimes, runtime, release.model, reported)
        fits = fit(release, device.targets, reported, runtime)
        if runtime is not None and runtimes is not None:
            fits = replace(fits, runtime_bytes=runtimes.bytes_for(runtime, reported))
        if fits.target is None:
            raise _unmet(release, fits)
        return device, fits

    return for_each(f"{release.name} can be run", chosen, _id, fitting, refused)


def _require_runtime(runtimes: RuntimeChoice, runtime: RuntimeManifest, model: str, reported: Reported | None) -> None:
    """Raise `FleetError` with the first thing that is in the way of a runtime on a device."""
    found = lacks(runtime, runtimes.store.manifest_ref(runtime.full_name).sha256, reported, model)
    if found:
        raise FleetError(found[0].detail, hint=REFUSALS[found[0].code].hint, code=found[0].code)


def _unmet(release: Release, fits: Fit) -> FleetError:
    """With the code of the first thing that has to be mended, and the words of all."""
    first, words = fits.in_the_way[0], "; ".join(each.detail for each in fits.in_the_way)
    return FleetError(f"{release.name}: {words}", hint=REFUSALS[first.code].hint, code=first.code)


def admission(able: Several[tuple[Device, Fit]]) -> Admission:
    """What is known of a selection before a rollout begins, counted per code."""
    fits = [(device.id, each) for device, each in able.done.values()]
    return Admission(
        devices=len(able.done),
        of=len(able.done) + len(able.refused),
        left_out=counted((each.device, each.code, each.reason) for each in able.refused),
        meanwhile=counted((name, found.code, found.detail) for name, each in fits for found in each.meanwhile),
        unknown=counted((name, "unknown", ", ".join(each.unknown)) for name, each in fits if each.unknown),
    )


def order_rollbacks(
    session: Session, chosen: Sequence[Device], model: str | None, now: float, refused: Sequence[Refusal] = ()
) -> Several[str]:
    """Order all devices back that can go back; the orders' ids. Raises `FleetError` or `UnknownError` when none can."""
    what = "a rollback can be ordered"
    return for_each(what, chosen, _id, lambda each: order_rollback(session, each.id, model, now), refused)


def open_rollouts(session: Session, chosen: Sequence[str]) -> list[str]:
    """The rollouts that have not ended and have yet to do something on some devices."""
    mine = (DeploymentRow.device.in_(chosen), DeploymentRow.outcome.is_(None), RolloutRow.state.not_in(ENDED))
    query = select(RolloutRow.id).join(DeploymentRow, DeploymentRow.rollout == RolloutRow.id).where(*mine)
    return sorted(set(session.scalars(query)))


def order_rollback(session: Session, device: str, model: str | None, now: float) -> str:
    """Order one device back to its last good release; returns the order's id. Raises `FleetError`, `UnknownError`.

    What a rollout has yet to send to it of that model is cancelled: it would be newer than this order.
    """
    reported = twins.find(session, device).reported
    if reported is None:
        hint = "look whether it is on: `skerry device show`"
        why = "it has never reported what it runs"
        raise FleetError(f"device {device} has no release to go back to: {why}", hint=hint, code="never_seen")
    models = reported.models
    if model is not None and model not in models:
        there = ", ".join(sorted(models)) or "nothing yet"
        raise UnknownError(f"device {device} runs no model {model!r}", hint=f"it runs {there}", code="no_model")
    going_back = _known_first(session, device, [name for name, m in models.items() if _can_go_back(m)], model)
    if not going_back:
        hint = "start a rollout of the release that it should run"
        raise FleetError(f"device {device} has no release to go back to", hint=hint, code="no_previous")
    if len(going_back) > 1:
        named = ", ".join(going_back)
        raise FleetError(
            f"device {device} runs several models: {named}", hint="name one with --model", code="which_model"
        )
    order = OrderRow(
        id=f"rollback-{secrets.token_hex(6)}",
        device=device,
        kind="rollback",
        model=going_back[0],
        state="pending",
        created=now,
    )
    orders.add(session, order)
    _cancel_waiting(session, device, going_back[0], now)
    return order.id


def order_removal(session: Session, device: str, model: str, now: float) -> str:
    """Order one device to give up a model; the order's id. What a rollout has yet to do to it there is cancelled.

    Raises `UnknownError` where the device has no such model and none was ever sent to it, and `FleetError` where it is
    revoked or retired: it would never hear of it.
    """
    devices.find(session, device)
    identities.require_heard(session, device)
    twin = twins.find(session, device)
    known = rollouts.models_sent(session, device) | set(twin.reported.models if twin.reported else ())
    if model not in known:
        there = ", ".join(sorted(known)) or "nothing yet"
        raise UnknownError(f"device {device} has no model {model!r}", hint=f"it has {there}", code="no_model")
    order = OrderRow(
        id=f"remove-{secrets.token_hex(6)}", device=device, kind=REMOVAL, model=model, state="pending", created=now
    )
    orders.add(session, order)
    _cancel_waiting(session, device, model, now, "the model was taken off the device")
    return order.id


def order_watch(session: Session, device: str, seconds: float, now: float) -> str:
    """Order one device to report often for some time, 0 to end that; returns the order's id.

    Raises `UnknownError`; `FleetError` where it is revoked or retired.
    """
    devices.find(session, device)
    identities.require_heard(session, device)
    order = OrderRow(
        id=f"watch-{secrets.token_hex(6)}", device=device, kind=WATCH, seconds=seconds, state="pending", created=now
    )
    orders.add(session, order)
    return order.id


def end_watch(session: Session, order_id: str, now: float) -> None:
    """End a watch before its time: by another order, unless it was not sent yet, or refused."""
    order = session.get_one(OrderRow, order_id)
    if order.state == "pending":
        order.state, order.detail, order.ended = "failed", "ended before it was sent", now
    elif order.state != "failed":
        order.seconds = 0.0
        order_watch(session, order.device, 0.0, now)


def watched_s(session: Session, order: OrderRow, now: float) -> float:
    """For how long a device is to be watched from now on by this order, and by others whose time is not over."""
    c = OrderRow
    others = select(c.sent, c.seconds).where(c.device == order.device, c.kind == WATCH, c.state != "failed")
    recent = session.execute(others.where(c.sent > now - MOST_WATCH_S))
    return max([order.seconds or 0.0, *((sent or 0.0) + (seconds or 0.0) - now for sent, seconds in recent)])


def _known_first(session: Session, device: str, names: list[str], wanted: str | None) -> list[str]:
    """Of the models that a device says can go back, the one that is wanted, or those that were ever sent to it.

    All, where none was: a registry that was made anew must not hold up an order in need.
    """
    if wanted is not None:
        return [name for name in names if name == wanted]
    sent = rollouts.models_sent(session, device)
    return [name for name in names if name in sent] or names


def _cancel_waiting(session: Session, device: str, model: str, now: float, why: str = "a rollback was ordered") -> None:
    unsent = (DeploymentRow.sent.is_(None), DeploymentRow.outcome.is_(None))
    mine = (DeploymentRow.device == device, DeploymentRow.model == model)
    for row in session.scalars(select(DeploymentRow).where(*mine, *unsent)):
        row.outcome, row.reason, row.ended = "cancelled", why, now
        events.add(session, Event(now, "cancelled", device, f"{row.release}: {row.reason}"))


def _id(device: Device) -> str:
    return device.id


def _can_go_back(model: ModelReport) -> bool:
    """It has a previous release, or a deployment in progress that can be cancelled."""
    under_way = model.deployment is not None and model.deployment.outcome is None
    return model.previous is not None or (under_way and model.current is not None)


def _full_bytes(release: Release, target: TargetName) -> int:
    """Of all files of a target's bundle, and of the one that is kept beside it."""
    bundles = [bundle for bundle in release.offered if bundle.target in with_fallback(target)]
    return sum({a.blob.sha256: a.blob.size for bundle in bundles for a in bundle.artifacts}.values())


def _deployment(
    rollout: RolloutRow, release: Release, device: str, target: TargetName, runtime: tuple[str, int]
) -> DeploymentRow:
    return DeploymentRow(
        id=f"{rollout.id[-8:]}-{device}",
        rollout=rollout.id,
        device=device,
        model=release.model,
        release=release.name,
        target=target,
        full_bytes=_full_bytes(release, target) + runtime[1],
        created=rollout.created,
        runtime=runtime[0],
    )
