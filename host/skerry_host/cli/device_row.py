"""A device as a row of a list: the fields by which `device list` chooses and sorts. Reads nothing."""

from skerry_host.cli.listing import Row
from skerry_host.plane.views.views import DeviceView

REPORTED_FIELDS = ("state", "release", "desired", "outcome", "issue", "alarm", "agent", "seen", "known")
"""Those that are not in a device's record, so that they are read only when they are asked for."""

FIELDS = ("id", "board", "state", "release", "desired", "outcome", "issue", "alarm", "agent", "known")


def device_row(view: DeviceView) -> Row:
    """Every field; `state` is whether it is connected, what each of its models does, and its alarms."""
    alarms = tuple(alarm.kind for alarm in view.alarms)
    connected = "unknown" if view.online is None else "online" if view.online else "offline"
    return {
        "id": view.id,
        "board": view.board,
        "tags": view.tags,
        "state": (connected, *alarms, *(model.condition for model in view.models)),
        "release": tuple(model.release for model in view.models),
        "desired": tuple(model.desired for model in view.models),
        "outcome": tuple(model.outcome for model in view.models),
        "issue": view.issues,
        "alarm": alarms,
        "agent": view.agent,
        "seen": view.last_seen,
        "known": view.known.how if view.known else None,
    }
