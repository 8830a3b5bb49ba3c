"""Which classes a quantized model still finds where the float one did: a metric over all samples hides a rare one.

Of 1,000 samples a class has ten, and a model that never answers it loses one point. Decides no gate.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, lgamma, log

import numpy as np

from skerry_agent.processing import Array
from skerry_host.builder.judge.tasks.base import Case, Expected, Outputs, Truth
from skerry_host.builder.judge.tasks.table import TASKS
from skerry_host.builder.recipe.recipe import Task

LEAST = 5
"""Samples of a class that say something of it: that a model which loses one in ten loses three of five is a matter of
one in a hundred."""

MOST = 1024
"""Samples of a random order that are looked through for classes."""
CHANCE = 0.01
"""How often some class may look lost where none is: of a thousand, one mostly loses three of five by chance."""
NAMED = 3
"""Classes that are named where many are lost."""


@dataclass(frozen=True, slots=True)
class KeptClass:
    """In how many samples the float model finds a class, rightly where that is known, and the other one does, too."""

    name: str
    found: int
    kept: int

    @property
    def share(self) -> float:
        """Of the samples, those in which it is still found."""
        return self.kept / self.found


def kept_classes(
    reference: Outputs, got: Outputs, expected: Expected, case: Case, names: Sequence[str] = ()
) -> tuple[KeptClass, ...]:
    """Of every class that the float model's real-valued outputs (N, ...) find in enough samples, in their order.

    None for tasks whose answers are of no class.
    """
    rules = TASKS[case.meaning.name]
    if rules.classes is None:
        return ()
    before, after = rules.classes(reference, case), rules.classes(got, case)
    if expected.truth is not None and rules.truth_classes is not None:
        before = [said & there for said, there in zip(before, rules.truth_classes(expected.truth), strict=True)]
    found = Counter(one for said in before for one in said)
    kept = Counter(one for said, still in zip(before, after, strict=True) for one in said & still)
    return tuple(
        KeptClass(names[one] if one < len(names) else f"class {one}", count, kept[one])
        for one, count in sorted(found.items())
        if count >= LEAST
    )


def waited_for(truth: Truth | None, meaning: Task) -> list[Array]:
    """For each class that is usual enough, which samples (N,) are of it: enough of them are worth looking further for.

    None without labels. Of many classes each is rare: then no early answer says anything of one.
    """
    rules = TASKS[meaning.name]
    if truth is None or rules.classes is None or rules.truth_classes is None:
        return []
    there = rules.truth_classes(truth)
    counts = Counter(one for classes in there for one in classes)
    usual = [one for one, count in sorted(counts.items()) if count >= LEAST and count * MOST >= LEAST * len(there)]
    return [np.array([one in classes for classes in there]) for one in usual]


def lost_classes(every: Sequence[KeptClass], least: float) -> list[str]:
    """What is wrong with the classes of which less than a share is left, and that by no chance, the worst first."""
    found, kept = (sum(getattr(one, part) for one in every) for part in ("found", "kept"))
    lost = sorted((one for one in every if one.share < least), key=lambda one: one.share)
    usual = {one.name: (kept - one.kept) / (found - one.found) if found > one.found else 1.0 for one in lost}
    lost = [one for one in lost if _chance(one, max(usual[one.name], (1 + least) / 2)) * len(every) < CHANCE]
    said = [
        f"of {one.found} samples in which the float model finds {one.name}, the quantized one does in "
        f"{one.kept or 'none'}, under min_class_kept {least:.0%}"
        for one in lost[:NAMED]
    ]
    return said + ([f"and so with {len(lost) - NAMED} more classes"] if len(lost) > NAMED else [])


def _chance(one: KeptClass, usual: float) -> float:
    """How probable it is that no more of a class is kept where of others a share is."""
    if usual >= 1:
        return float(one.kept == one.found)
    every = lgamma(one.found + 1)
    ways = ((n, every - lgamma(n + 1) - lgamma(one.found - n + 1)) for n in range(one.kept + 1))
    return sum(exp(log_ways + n * log(usual) + (one.found - n) * log(1 - usual)) for n, log_ways in ways)
