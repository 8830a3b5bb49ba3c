"""Chooses a board's power meter: a sensor of the whole board, else of the processor, else the model, else none."""

from collections.abc import Callable
from pathlib import Path

from skerry_agent.meters import hwmon, pmic, powercap
from skerry_agent.meters.power import AbsentPower, Coefficients, MeasuredPower, ModelledPower, PowerMeter

ROOT = Path("/")
ReadPmic = Callable[[], str | None]


def choose(board: Coefficients | None, root: Path = ROOT, read_pmic: ReadPmic | None = None) -> PowerMeter:
    """The best meter there is; `root` stands for /, `read_pmic` for the firmware's tool."""
    rails = hwmon.find(root)
    if rails is not None:
        return MeasuredPower(rails, board)
    text = read_pmic() if read_pmic is not None else None
    if read_pmic is not None and text is not None and pmic.parse(text) is not None:
        return MeasuredPower(pmic.PmicPower(read_pmic), board)
    zones = powercap.find(root)
    if zones:
        return MeasuredPower(powercap.PowercapPower(zones), board)
    return ModelledPower(board) if board is not None else AbsentPower()
