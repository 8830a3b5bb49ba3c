"""Whether an operator waits for memory or for arithmetic on a board: the roofline model. Pure.

Williams, Waterman, Patterson: Roofline (CACM 52, 2009). With `peak` operations a second and `bandwidth` bytes a second
an operator of intensity I (operations a byte) reaches at most min(peak, I * bandwidth).
"""

from typing import Literal

from msgspec import Struct

from skerry_agent.wire.manifest import Target
from skerry_host.boards import Peak
from skerry_host.build.report.cost import Cost

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
        return "memory" if cost.intensity < self.ridge else "compute"

    def least_us(self, cost: Cost) -> float:
        """The time that an operator takes at least, in microseconds."""
        return max(2 * cost.macs / self.gops, cost.bytes / self.gb_s) / 1e3


def roof(peak: Peak, target: Target, *, integer: bool = True) -> Roof:
    """The bounds for a target: of the cores, or of the accelerator and the way to it."""
    if target == "edgetpu" and peak.accelerator_gops and peak.link_gb_s:
        return Roof(peak.accelerator_gops, peak.link_gb_s, "the link to the accelerator")
    return Roof(peak.int8_gops if integer else peak.float_gops, peak.memory_gb_s, "memory")
