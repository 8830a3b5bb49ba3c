"""Has a device report often while a person looks, and hands on its reports as they come. Prints nothing.

The registry carries the order to `skerry serve`, and the reports back. Whoever stops looking ends it at once; a
command line that is killed leaves it to the device, which ends it when its time is over.
"""

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from skerry_host.plane.errors import PlaneError
from skerry_host.plane.registry.database import Registry
from skerry_host.plane.registry.records import devices, twins
from skerry_host.plane.registry.tables import OrderRow
from skerry_host.plane.rollouts import intake
from skerry_host.plane.views import plane_state
from skerry_host.plane.views.gather import device_views
from skerry_host.plane.views.labels import label
from skerry_host.plane.views.plane_state import PlaneView
from skerry_host.plane.views.views import DeviceView

POLL_S = 0.5
SENT_S, ANSWER_S = 15.0, 60.0
"""How long `skerry serve` may take to send the order, and the device to answer."""


def watch(
    opened: Registry, device: str, seconds: float, answered: Callable[[str], None], show: Callable[[DeviceView], None]
) -> None:
    """Watch a device for some time, or until it is interrupted.

    `answered` gets what the device answers, `show` each report. Raises `UnknownError`, and `PlaneError` when the device
    is offline, refuses or does not answer, or when nobody sends the order.
    """
    before = _require_online(opened, device)
    end = time.monotonic() + seconds
    with _interruptible():
        with opened.write() as session:
            order = intake.order_watch(session, device, seconds, time.time())
        try:
            answered(_answer(opened, order, device))
            for view in _new_reports(opened, device, end, before):
                show(view)
        except BaseException:
            with opened.write() as session:
                intake.end_watch(session, order, time.time())
            raise


def _require_online(opened: Registry, device: str) -> float | None:
    """When its newest report came."""
    with opened.read() as session:
        found = devices.find(session, device)
        _require_plane(plane_state.seen(session, time.time()))
        if not twins.find(session, device).online:
            hint = "it can be watched once it is online; what it measures meanwhile comes then"
            raise PlaneError(f"device {device} is offline", hint=hint, code="offline")
        return device_views(session, [found], history=1)[0].measured


def _require_plane(plane: PlaneView) -> None:
    if not plane.running:
        raise PlaneError(f"nobody sends the order: {plane.line(time.time())}", code="not_sent")


@contextmanager
def _interruptible() -> Iterator[None]:
    """An interruption ends quietly; so does a request to end."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    except KeyboardInterrupt:
        pass
    finally:
        signal.signal(signal.SIGTERM, before)


def _answer(opened: Registry, order: str, device: str) -> str:
    """What the device answers; raises `PlaneError` when it is no."""
    began = time.monotonic()
    while True:
        with opened.read() as session:
            row = session.get_one(OrderRow, order)
            state, detail = row.state, row.detail
        if state in {"answered", "done"}:
            return detail
        waited_s = time.monotonic() - began
        if state == "failed":
            hint = "its reports come at their usual interval: `skerry monitor`"
            raise PlaneError(f"device {device} cannot be watched: {label(detail)}", hint=hint, code="refused")
        if state == "pending" and waited_s > SENT_S:
            hint = "start `skerry serve`, or wait until its order before this one is answered"
            raise PlaneError("the order was not sent", hint=hint, code="not_sent")
        if waited_s > ANSWER_S:
            hint = "see `skerry device show`: is it still online?"
            raise PlaneError(f"device {device} has not answered", hint=hint, code="no_answer")
        time.sleep(POLL_S)


def _new_reports(opened: Registry, device: str, end: float, before: float | None) -> Iterator[DeviceView]:
    """The device after each report that came later than `before`."""
    while time.monotonic() < end:
        with opened.read() as session:
            view = device_views(session, [devices.find(session, device)])[0]
        if view.measured != before:
            yield view
        before = view.measured
        time.sleep(min(POLL_S, max(0.0, end - time.monotonic())))
