"""A grid of weights with what has been chosen for it, and the symbols that then say it. It chooses nothing."""

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from skerry_agent.patch.program import Shape
from skerry_agent.patch.weights import Plan, Prediction, zigzag

UNCHANGED = -1

Grid = NDArray[np.int32]


@dataclass(slots=True)
class Fit:
    """A grid to code: new bytes (rows, cols), old ones or `None`, and what has been chosen for it so far."""

    new: NDArray[np.uint8]
    old: NDArray[np.uint8] | None
    zero: int
    across: bool
    levels: Grid = field(default_factory=lambda: np.zeros(0, np.int32))
    columns: Grid = field(default_factory=lambda: np.zeros(0, np.int32))
    gains: Grid = field(default_factory=lambda: np.zeros((1, 1), np.int32))
    thresholds: Grid = field(default_factory=lambda: np.zeros((1, 1), np.int32))
    packed: bool = False  # two weights in a byte: no gain or threshold applies to both

    def reset(self) -> None:
        """Start from one level, no columns, no gain and no threshold."""
        self.levels = np.zeros(self.new.shape[0], np.int32)
        self.columns = np.zeros(self.new.shape[1], np.int32)
        self.gains = self.thresholds = np.zeros((1, 1), np.int32)

    @property
    def before(self) -> NDArray[np.uint8]:
        """The bytes that the prediction starts from."""
        return np.full(self.new.shape, self.zero, np.uint8) if self.old is None else self.old

    def rows(self, start: int, stop: int) -> "Fit":
        """The part of the grid from row `start` to before row `stop`."""
        if start == 0 and stop >= len(self.new):
            return self
        part = slice(start, stop)
        old = None if self.old is None else self.old[part]
        gains, thresholds = (each if len(each) == 1 else each[part] for each in (self.gains, self.thresholds))
        rows = replace(self, new=self.new[part], old=old, levels=self.levels[part])
        return replace(rows, gains=gains, thresholds=thresholds)

    def plan(self, shape: Shape, tie_context: int = 0) -> Plan:
        """The choices in the decoder's own terms."""
        rows, cols = self.new.shape
        chosen = (self.levels, self.columns, self.gains, self.thresholds)
        return Plan(rows, cols, self.zero, shape, *chosen, tie_context)


def symbols_of(block: Prediction, new: NDArray[np.uint8], zero: int) -> NDArray[np.uint8]:
    """The symbols (rows, cols) that turn the prediction `block` into `new`."""
    made = zigzag((new.astype(np.int32) - zero - block.value) * block.sign)
    to_zero = zigzag(-block.value * block.sign)
    swapped = np.where(made == 1, to_zero, np.where(made == to_zero, np.uint8(1), made))
    return np.where(block.tie, swapped, made)
