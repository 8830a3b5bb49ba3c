"""What is ordered on the device itself: to go back, or to install from a folder. Says what came of it, for a person.

Orders of the host are checked in `orders`; here nobody signs, whoever may use the local socket is trusted. What an
export holds is verified like any other bundle, when it is installed.
"""

from msgspec.structs import replace

from skerry_agent import log
from skerry_agent.deployment.unit import Unit
from skerry_agent.machine import events
from skerry_agent.machine.records import State
from skerry_agent.state.blobs import BlobStore
from skerry_agent.state.disk import os_error_text
from skerry_agent.state.install import Export, InstallError, deployment_of
from skerry_agent.supervisor.local import Done


def roll_back(unit: Unit, factory_release: str | None, *, factory: bool) -> Done:
    """Go back to the previous bundle, or have the factory release verified that the device has, if it has one."""
    model = unit.model
    if factory and factory_release is not None:
        unit.return_to_factory()
        detail = f"{model} will go back to its factory release {factory_release} once that is verified"
        return Done(ok=True, detail=detail, model=model, release=factory_release)
    if factory:
        return Done(ok=False, detail=f"{model} has no factory release on this device")
    if unit.record.slots.previous is None and not unit.active:
        hint = f"; `--factory` goes back to {factory_release}" if factory_release is not None else ""
        return Done(ok=False, detail=f"{model} has no previous release on this device{hint}")
    unit.handle(events.RollbackOrdered())
    current = unit.record.slots.current
    release = current.release if current else ""
    goes = f"goes back to {release}" if release else "has no release to go back to; its deployment was cancelled"
    return Done(ok=True, detail=f"{model} {goes}", model=model, release=release)


def install(unit: Unit, export: Export, blobs: BlobStore, now: float) -> Done:
    """Order what an export holds, unless a deployment is past its fetch: that one is soon over."""
    if unit.active and unit.record.state is not State.FETCHING:
        return Done(ok=False, detail=f"{unit.model} is busy with another deployment; try again when it has ended")
    try:
        order = deployment_of(export, unit.context.config.board.targets, unit.record.deployment, now)
        current = unit.record.slots.current
        if order.runtime is None and current is not None and current.runtime is not None:
            order = replace(order, runtime=current.runtime.manifest)  # an export that brings none changes none
        blobs.keep(order.manifest.sha256, export.raw)
        if order.runtime is not None and export.runtime is not None:
            blobs.keep(order.runtime.sha256, export.runtime)
    except (InstallError, OSError) as error:
        return not_done(error)
    unit.order(order)
    return Done(ok=True, detail=order.id)


def not_done(error: InstallError | OSError) -> Done:
    """Why an export cannot be installed."""
    return Done(ok=False, detail=os_error_text(error) if isinstance(error, OSError) else str(error))


def logged(order: str, done: Done) -> Done:
    """What was ordered here is in the log, like an order of the host."""
    log.say("info" if done.ok else "warning", f"{order}, ordered on this device", ok=done.ok, detail=done.detail)
    return done
