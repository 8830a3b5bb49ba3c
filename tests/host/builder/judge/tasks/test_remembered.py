"""What the float model answers is read from its outputs once, however many models are compared with it."""

from dataclasses import dataclass, field, replace
from typing import Any

import msgspec
import numpy as np
import pytest

from skerry_agent.processing import Array
from skerry_agent.wire.postprocess import Postprocess
from skerry_host.builder.judge.tasks.base import MOST_REMEMBERED, Case, Known, Remembered, View, answers
from skerry_host.builder.judge.tasks.table import measure
from skerry_host.builder.recipe.recipe import Task

DETECTOR = Task("detection", Postprocess(min_score=0.5))
CASE = Case(DETECTOR, View((8, 8)))


def outputs(count: int, *, by: float = 0.0) -> list[Array]:
    """A detector's, with a box in every other sample."""
    places = np.tile(np.array([[[0.1, 0.1, 0.5 + by, 0.5], [0.6, 0.6, 0.9, 0.9]]], np.float32), (count, 1, 1))
    scores = np.array([[[0.9 * (at % 2)], [0.0]] for at in range(count)], np.float32)
    return [places, scores]


@dataclass
class Told:
    """Notes how many samples were read anew."""

    remembered: Remembered
    lists: list[Any] = field(default_factory=list)

    def ask(self, case: Case) -> list[Any]:
        self.lists.append(self.remembered.read(case))
        return self.lists[-1]


def test_the_same_question_is_answered_once_and_another_anew():
    told = Told(Remembered(outputs(6)))
    wide = replace(CASE, meaning=msgspec.structs.replace(DETECTOR, postprocess=Postprocess(min_score=0.95)))
    assert [len(one.found) for one in told.ask(CASE)] == [0, 1] * 3
    assert told.ask(replace(CASE, view=View((8, 8)))) is told.lists[0]
    assert [len(one.found) for one in told.ask(wide)] == [0] * 6
    assert told.ask(CASE) == told.lists[0]


@pytest.mark.parametrize("by", [0.0, 0.05, 0.45])
def test_the_figure_is_that_of_outputs_that_nobody_remembers(by: float):
    reference, got = outputs(20), outputs(20, by=by)
    kept, plain = (Known(None, kind, 20) for kind in (Remembered(reference), tuple(reference)))
    for _ in range(2):
        one, other = (measure(got, known, DETECTOR, CASE.view) for known in (kept, plain))
        assert (one.metric, one.value, one.interval) == (other.metric, other.value, other.interval)


def test_no_more_is_remembered_than_is_said():
    many = Remembered(outputs(MOST_REMEMBERED + 1))
    assert sum(1 for _ in answers(many, CASE)) == MOST_REMEMBERED + 1
    assert many._last is None
