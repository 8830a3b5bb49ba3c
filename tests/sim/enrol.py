"""Enrols a scenario's devices in a home, by the functions that `skerry device provision` calls. Writes no folders."""

import time

from skerry_host.boards import load_board
from skerry_host.fleet.device import Device
from skerry_host.plane.registry.database import Registry
from skerry_host.plane.registry.records import devices
from tests.sim.scenario import Scenario

AT_A_TIME = 500


def enrol(registry: Registry, scenario: Scenario) -> None:
    """All that are not enrolled yet, in a few transactions."""
    with registry.read() as session:
        known = {device.id for device in devices.all_devices(session)}
    targets = {board: load_board(board).targets for board in {group.board for group in scenario.groups}}
    new = [
        Device(name, group.board, frozenset(group.tags), targets[group.board])
        for group in scenario.groups
        for name in group.ids
        if name not in known
    ]
    for first in range(0, len(new), AT_A_TIME):
        with registry.write() as session:
            for device in new[first : first + AT_A_TIME]:
                devices.add(session, device, time.time())
