"""The devices that `--group` and `--device` select, for every command that acts on several, and how one ends.

Such a command acts on all devices that it can and lists the others; its exit status is then `several.PARTIAL`.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from skerry_host.fleet.device import Device
from skerry_host.fleet.errors import FleetError
from skerry_host.fleet.several import Refusal, Several, for_each
from skerry_host.plane.registry.records import devices, identities

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

EXIT_STATUS = "The exit status is 0 if that is all of them, 3 if it is some, and 2 if it is none."
"""What the help of such a command says at its end."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """The selected devices, a description of the selection, and names that no device has."""

    devices: list[Device]
    selection: str
    refused: tuple[Refusal, ...] = ()


def chosen_devices(session: "Session", group: str | None, names: tuple[str, ...]) -> Chosen:
    """Raises `click.UsageError` unless exactly one option is given, and `FleetError` when no device is selected."""
    if bool(group) == bool(names):
        message = "give either --group or --device"
        raise click.UsageError(message, click.get_current_context())
    if group:
        members = devices.members(session, devices.find_group(session, group))
        if not members:
            hint = "`skerry device list` shows boards and tags"
            raise FleetError(f"group {group} selects no devices", hint=hint, code="no_devices")
        return Chosen(members, f"group {group}")
    unique = list(dict.fromkeys(names))
    found = for_each("this can be done", unique, str, lambda name: _heard(session, name))
    return Chosen(list(found.done.values()), f"device {', '.join(found.done)}", found.refused)


def _heard(session: "Session", name: str) -> Device:
    """A device that can be ordered something; raises `UnknownError`, `FleetError`."""
    found = devices.find(session, name)
    identities.require_heard(session, name)
    return found


def refused_lines(what: str, refused: Iterable[Refusal]) -> list[str]:
    """A line for each device for which nothing was done."""
    return [
        f"{what} {each.device}: {each.reason}{f'; {each.hint}' if each.hint else ''} ({each.code})" for each in refused
    ]


def of_all(several: "Several[Any]") -> str:
    """How many of how many, in words."""
    done, refused = len(several.done), len(several.refused)
    return f"{done} of {done + refused} devices" if refused else f"{done} device{'' if done == 1 else 's'}"
