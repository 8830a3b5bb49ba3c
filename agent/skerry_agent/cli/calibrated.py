"""Puts the coefficients of a calibration (`skerry-agent power`) in place of the board's. Imports no meters."""

from msgspec.structs import replace

from skerry_agent.config import AgentConfig, BoardSection, PowerSection
from skerry_agent.state.disk import DiskError
from skerry_agent.state.power_calibration import PowerCalibration, read_calibration


def calibrated(config: AgentConfig) -> AgentConfig:
    """The configuration with a calibration's coefficients in place of the board's; `issue` says why it has none."""
    try:
        known = read_calibration(config.state_dir)
    except (DiskError, OSError) as error:
        return _with_issue(config, f"the power calibration cannot be used: {error}")
    if known is None:
        return config
    if known.board != config.board.name:
        hint = "`skerry-agent power reset` forgets it"
        return _with_issue(config, f"the power calibration is of a {known.board} and is not used: {hint}")
    return replace(config, board=_board(config.board, known))


def _board(board: BoardSection, known: PowerCalibration) -> BoardSection:
    source = f"calibrated with a wattmeter on {known.date}: {known.readings}"
    coefficients = known.idle_w, known.watts_per_core, known.uncertainty
    accelerator_w = board.power.accelerator_w if board.power is not None else None
    label = f"wattmeter {known.date}"
    return replace(board, power=PowerSection(*coefficients, source, label, accelerator_w))


def _with_issue(config: AgentConfig, issue: str) -> AgentConfig:
    return replace(config, issue="; ".join(filter(None, (config.issue, issue))))
