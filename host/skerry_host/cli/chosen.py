"""The devices that `--group` and `--device` select, for every command that acts on several."""

from typing import TYPE_CHECKING

import click

from skerry_host.fleet.device import Device
from skerry_host.plane.registry.records import devices

if TYPE_CHECKING:
    from sqlalchemy.orm import Session


def chosen_devices(session: "Session", group: str | None, names: tuple[str, ...]) -> tuple[list[Device], str]:
    """The selected devices and a description of them; raises `click.UsageError` unless exactly one option is given."""
    if bool(group) == bool(names):
        message = "give either --group or --device"
        raise click.UsageError(message, click.get_current_context())
    if group:
        return devices.members(session, devices.find_group(session, group)), f"group {group}"
    unique = list(dict.fromkeys(names))
    return [devices.find(session, name) for name in unique], f"device {', '.join(unique)}"
