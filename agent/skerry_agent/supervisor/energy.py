"""Energy per inference of each model, added up until it can be told from noise. Pure.

One inference of a small model takes less than a sensor's step or a tick of the clock shows. So what a model took is
kept from interval to interval, until the noise in the sum is small beside it; until then there is no figure. The
board's energy is shared among its models by what the board's model says of each; where a sensor measures, by the time
that each kept cores and accelerator busy; and where none is known, by their inferences.
"""

from collections.abc import Callable
from math import hypot

from msgspec import Struct

from skerry_agent.ports.interfaces import ActiveEnergy
from skerry_agent.wire.telemetry import MeasurementSource

MOST_NOISE = 0.1
"""Relative: of a figure that is told."""

MOST_UNCERTAINTY = 1.0
"""Relative: a figure that may as well be nothing is none."""

LONGEST_S = 900.0
"""What is older does not count: the noise of long idle times would cover the work of now."""


class Work(Struct, frozen=True):
    """What one model did: how many inferences, the CPU time for them, and the accelerator's, if they ran on one."""

    inferences: int = 0
    cpu_s: float = 0.0
    accelerator_s: float = 0.0

    def plus(self, more: "Work") -> "Work":
        """Both together."""
        accelerator_s = self.accelerator_s + more.accelerator_s
        return Work(self.inferences + more.inferences, self.cpu_s + more.cpu_s, accelerator_s)

    @property
    def busy_s(self) -> float:
        """Of cores and accelerator: what a board's energy is shared by."""
        return self.cpu_s + self.accelerator_s


class Energy(Struct, frozen=True):
    """Energy per inference, with its relative uncertainty, noise and bias together."""

    per_inference_uj: float
    relative_uncertainty: float
    source: MeasurementSource
    method: str


class _Account(Struct):
    """What one model has taken since it was told last; `method` is that of all of it."""

    source: MeasurementSource
    method: str
    inferences: int = 0
    joules: float = 0.0
    noise_j: float = 0.0
    bias_j: float = 0.0
    seconds: float = 0.0


Model = tuple[str, str]
"""Its name and its release."""

Weigh = Callable[[Work], float]


class EnergyAccounts:
    """One account for each model and release that works."""

    def __init__(self) -> None:
        self._accounts: dict[Model, _Account] = {}

    def add(
        self, energy: ActiveEnergy | None, work: dict[Model, Work], seconds: float, weigh: Weigh = lambda w: w.busy_s
    ) -> None:
        """The board's energy of an interval, and what its models did in it. One that did nothing took nothing.

        `weigh` says how much of the energy some work is, as far as that is known.
        """
        worked = {model: each for model, each in work.items() if each.inferences or each.busy_s > 0}
        if energy is None:
            self._accounts.clear()
            return
        for model, share in _shares(worked, weigh).items():
            account = self._account(model, energy, seconds)
            account.inferences += worked[model].inferences
            account.joules += share * energy.joules
            account.noise_j = hypot(account.noise_j, share * energy.noise_j)
            account.bias_j += share * energy.bias_j
            account.seconds += seconds

    def take(self, model: str, release: str) -> Energy | None:
        """The figure of a model, and its account begins anew; None while there is too little in it."""
        account = self._accounts.get((model, release))
        if account is None or account.joules <= 0 or not account.inferences:
            return None
        noise = account.noise_j / account.joules + 1 / account.inferences  # one may have begun, or end, outside
        uncertainty = noise + account.bias_j / account.joules
        if noise > MOST_NOISE or uncertainty > MOST_UNCERTAINTY:
            return None
        del self._accounts[model, release]
        return Energy(account.joules * 1e6 / account.inferences, uncertainty, account.source, account.method)

    def _account(self, model: Model, energy: ActiveEnergy, seconds: float) -> _Account:
        known = self._accounts.get(model)
        same = known is not None and (known.source, known.method) == (energy.source, energy.method)
        if known is None or not same or known.seconds + seconds > max(LONGEST_S, seconds):
            known = self._accounts[model] = _Account(energy.source, energy.method)
        return known


def _shares(worked: dict[Model, Work], weigh: Weigh) -> dict[Model, float]:
    for measure in (weigh, lambda work: float(work.inferences)):
        weights = {model: measure(each) for model, each in worked.items()}
        total = sum(weights.values())
        if total > 0:
            return {model: weight / total for model, weight in weights.items()}
    return {}
