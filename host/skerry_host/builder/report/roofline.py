"""Whether an operator is memory-bound or compute-bound on a board: the roofline model. Pure.

Williams, Waterman, Patterson: Roofline (CACM 52, 2009). With `peak` operations a second and `bandwidth` bytes a second
an operator of intensity I (operations a byte) reaches at most min(peak, I * bandwidth).
"""

from typing import Literal

from msgspec import Struct, structs

from skerry_host.boards import Peak
from skerry_host.builder.modelfile.cost import Cost

Bound = Literal["memory", "compute"]


class Roof(Struct, frozen=True):
    """The two bounds of a target on a board; `memory` names what the bytes come over."""

    gops: float
    gb_s: float
    memory: str

    @property
    def ridge(self) -> float:
        """The intensity from which on arithmetic is the bound."""
        return self.gops / self.gb_s

    def reach(self, intensity: float) -> float:
        """10^9 operations a second at best."""
        return min(self.gops, intensity * self.gb_s)

    def bound(self, cost: Cost) -> Bound:
        """What an operator waits for."""
        return "memory" if cost.bytes and cost.intensity < self.ridge else "compute"

    def least_us(self, cost: Cost) -> float:
        """The time that an operator takes at least, in microseconds."""
        return max(2 * cost.macs / self.gops, cost.bytes / self.gb_s) / 1e3


def roof(peak: Peak, *, integer: bool = True) -> Roof:
    """The bounds of the cores."""
    return Roof(peak.int8_gops if integer else peak.float_gops, peak.memory_gb_s, "memory")


def accelerator_roof(peak: Peak) -> Roof | None:
    """The bounds of the accelerator and of the way to it, None where the board's file does not give them."""
    if not peak.accelerator_gops or not peak.link_gb_s:
        return None
    return Roof(peak.accelerator_gops, peak.link_gb_s, "the link to the accelerator")


def over_the_link(cost: Cost, crossing_bytes: int) -> Cost:
    """What an operator costs on an accelerator: activations stay on the chip, parameters are cached there."""
    return structs.replace(cost, activation_bytes=crossing_bytes, parameter_bytes=0)
