"""Measurements of the board: power, temperature, CPU, memory. Standard library only; missing values stay absent."""

from skerry_agent.meters.board import BoardMeters
from skerry_agent.meters.choice import choose
from skerry_agent.meters.power import Coefficients, PowerMeter, Window

__all__ = ["BoardMeters", "Coefficients", "PowerMeter", "Window", "choose"]
