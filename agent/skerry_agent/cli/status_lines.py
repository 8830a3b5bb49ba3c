"""A device's status as lines for a person. Asks nobody; whoever prints the lines cleans them."""

import time

from skerry_agent.config import UNENROLLED
from skerry_agent.identity.ports import IdentityStatus
from skerry_agent.supervisor.report import LocalStatus
from skerry_agent.wire.figures import energy_text
from skerry_agent.wire.settings import SettingsReport
from skerry_agent.wire.twin import DeploymentReport, RuntimeReport, SlotReport
from skerry_agent.wire.upgrades import UpgradeReport


def shown(status: LocalStatus) -> list[str]:
    """All that a device knows of itself; each model with what it runs, where it serves, and how it got there."""
    offline = f"offline: {status.why_offline}" if status.why_offline else "offline"
    link = "connected" if status.connected else offline if status.running else "not running"
    name = "this device" if status.device == UNENROLLED else f"device {status.device}"
    lines = [f"{name}: {link}", *_agent(status), *_identity(status.identity), *_settings(status.settings)]
    for name, model in sorted(status.models.items()):
        current = slot_text(model.current) if model.current else "no release"
        where = " and ".join(urls[name] for urls in (status.http, status.unix) if name in urls)
        serving = f"serving on {where}" if model.serving and where else "not serving"
        by = f" by {_runs(model.runtime)}" if model.runtime else ""
        lines.append(f"  {name}: {current}, {model.state}, {serving}{by}")
        energy = status.energy.get(name)
        if energy is not None:
            used = energy_text(energy.energy_uj, energy.relative_uncertainty)
            lines.append(f"    {used} an inference ({energy.source}: {energy.method})")
        if model.previous is not None and (model.previous.runtime or (model.current and model.current.runtime)):
            lines.append(f"    a rollback goes back to {slot_text(model.previous)}{_base(model.previous)}")
        factory = status.factory[name].release if name in status.factory else None
        lines.append(f"    factory release {factory}" if factory else "    no factory release to fall back to")
        if name in status.results:
            counts = status.results[name]
            lines.append(f"    results sent {counts.sent} ({counts.bytes_sent} B), left out {counts.left_out}")
        if model.deployment is not None:
            trial = f", {status.trials[name]}" if name in status.trials else ""
            lines.append(f"    last deployment {progress(model.deployment)}{trial}")
    return lines + [f"  issue: {issue}" for issue in status.issues]


def _base(slot: SlotReport) -> str:
    return "" if slot.runtime else " with the base environment's runtime"


def slot_text(slot: SlotReport) -> str:
    """A release, and the runtime that came with it where there is one."""
    if not slot.runtime:
        return slot.release
    return f"{slot.release} with runtime {slot.runtime}{' (gone)' if slot.runtime_gone else ''}"


def _settings(report: SettingsReport | None) -> list[str]:
    """What was set from afar, where anything was, and which of it is otherwise here."""
    if report is None or not report.id:
        return []
    why = ": ".join(filter(None, (report.code, report.detail)))
    lines = [f"  settings from afar: {report.outcome.replace('_', ' ')}{f' ({why})' if why else ''}"]
    for each in report.differences:
        wanted, here = each.wanted or "agent.toml's", ", kept by agent.toml" if each.why else ""
        lines.append(f"    {each.key}: {each.running or 'none'} runs, {wanted} is wanted{here}")
    return lines


def _agent(status: LocalStatus) -> list[str]:
    """Which agent this is, and what became of its latest upgrade."""
    upgrade = status.upgrade
    release = f" ({upgrade.runs})" if upgrade is not None and upgrade.runs else ""
    lines = [f"  agent {status.version}{release}"] if status.version else []
    return [*lines, f"    {upgrade_text(upgrade)}"] if upgrade is not None and upgrade.release else lines


def upgrade_text(upgrade: UpgradeReport) -> str:
    """How far an upgrade is, or how it has ended."""
    if upgrade.outcome is not None:
        why = ": ".join(filter(None, (upgrade.reason, upgrade.detail)))
        return f"upgrade to {upgrade.release}: {upgrade.outcome}" + (f" ({why})" if why else "")
    words: list[str] = [upgrade.state]
    if upgrade.state == "fetching" and upgrade.bytes_expected:
        words.append(f"{upgrade.bytes_received / upgrade.bytes_expected:.0%} of {upgrade.bytes_expected} B")
    return f"upgrade to {upgrade.release}: {', '.join(filter(None, (*words, upgrade.detail)))}"


def _identity(identity: IdentityStatus | None) -> list[str]:
    """Who the device is to the host, of one that has an identity or asks for one."""
    if identity is None:
        return []
    return [f"  identity: {identity_text(identity)}"]


def identity_text(identity: IdentityStatus) -> str:
    """How far it is, as a phrase."""
    until = time.strftime("%Y-%m-%d", time.gmtime(identity.until)) if identity.until is not None else ""
    words = {
        "enrolled": f"enrolled as {identity.device}, its certificate is valid until {until}",
        "returning": f"enrolled as {identity.device}, asks for a new certificate",
        "asking": f"asks to enrol as {identity.code}" if identity.code else "asks to enrol",
        "pending": "asks to enrol",
        "refused": f"the host refuses {identity.device or identity.code or 'to enrol it'}",
        "none": "none",
    }[identity.state]
    return f"{words}: {identity.detail}" if identity.detail else words


def _runs(runtime: RuntimeReport) -> str:
    delegate = f" with {runtime.delegate}" if runtime.delegate else ""
    return f"{runtime.name} {runtime.version}{delegate}"


def progress(deployment: DeploymentReport) -> str:
    """How far a deployment is, or how it has ended."""
    if deployment.outcome is not None:
        why = f" ({deployment.reason})" if deployment.reason else ""
        return f"{deployment.release}: {deployment.outcome}{why}"
    words: list[str] = [deployment.state]
    if deployment.state == "fetching" and deployment.bytes_expected:
        share = deployment.bytes_received / deployment.bytes_expected
        words.append(f"{share:.0%} of {deployment.bytes_expected} B")
    if deployment.transports:
        words.append(f"transport {' and '.join(deployment.transports)}")
    return f"{deployment.release}: {', '.join(filter(None, (*words, deployment.detail)))}"
