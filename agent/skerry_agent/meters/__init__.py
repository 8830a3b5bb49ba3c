"""What a board can tell of itself: power, temperature, CPU, memory. Standard library only; absent stays absent."""

from skerry_agent.meters.board import BoardMeters
from skerry_agent.meters.choice import choose
from skerry_agent.meters.power import Coefficients, PowerMeter, Window

__all__ = ["BoardMeters", "Coefficients", "PowerMeter", "Window", "choose"]
