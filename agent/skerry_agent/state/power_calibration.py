"""The power coefficients that a wattmeter gave for this board, in the state folder, beside the journals.

Not in agent.toml: that file is the host's, provisioning writes it anew, and nothing changes it behind its owner's back.
Knows no meter and no configuration.
"""

from pathlib import Path
from typing import Annotated

from msgspec import Meta, Struct

from skerry_agent.state.disk import read_record, write_record

FILE = "power.json"

Watts = Annotated[float, Meta(ge=0)]


class PowerCalibration(Struct, frozen=True):
    """What was measured: `date` as 2026-11-29, `uncertainty` relative, and `readings` in words for whoever looks."""

    board: str
    idle_w: Watts
    watts_per_core: Watts
    uncertainty: Watts
    date: str
    readings: str = ""


def read_calibration(state: Path) -> PowerCalibration | None:
    """The calibration; None without one. Raises `DiskError` or `OSError` for one that cannot be used."""
    return read_record(state / FILE, PowerCalibration)


def write_calibration(state: Path, calibration: PowerCalibration) -> None:
    """Keep it in place of the one before, or not at all. Raises `OSError`."""
    write_record(state / FILE, calibration)


def forget_calibration(state: Path) -> bool:
    """Go back to the board's own coefficients; whether there was a calibration."""
    path = state / FILE
    existed = path.exists()
    path.unlink(missing_ok=True)
    return existed
