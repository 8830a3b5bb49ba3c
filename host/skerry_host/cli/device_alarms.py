"""`skerry device end-alarms`: ends what was said of a device, once a person has seen to it."""

import time

import click

from skerry_host.cli.common import emit, json_option, registry
from skerry_host.plane.registry.records import alarms, devices
from skerry_host.plane.views.labels import label


@click.command(name="end-alarms")
@click.argument("name")
@json_option
def end_alarms(name: str, as_json: bool) -> None:
    """End the alarms of a device by hand; one whose cause is still there begins anew."""
    with registry() as opened, opened.write() as session:
        ended = alarms.end(session, devices.find(session, name).id, time.time())
    said = ", ".join(map(label, ended))
    emit({"device": name, "ended": ended}, as_json, lambda: f"{name}: ended: {said}" if ended else f"{name} has none")
