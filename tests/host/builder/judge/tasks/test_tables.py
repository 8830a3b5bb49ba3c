"""A task is in every table on the way from outputs to applications, and on the pages that list tasks."""

from typing import get_args

import pytest

from skerry_agent.processing import answers, documents, drift
from skerry_agent.wire.postprocess import ANSWERED
from skerry_host.builder.data import truth
from skerry_host.builder.judge.tasks.table import TASKS
from skerry_host.builder.recipe.recipe import TaskName
from tests.kit.programs import ROOT

NAMES = set(get_args(TaskName))
WITH_ANSWERS = NAMES - {"raw"}


def test_every_task_has_rules_an_answer_and_a_form_of_truth():
    assert set(TASKS) == NAMES
    assert set(answers._TASKS) == ANSWERED == WITH_ANSWERS
    assert set(truth._PARSERS) == WITH_ANSWERS


def test_every_answer_can_be_told_and_counted():
    kinds = set(get_args(answers.Found))
    assert set(documents._DOCUMENTS) == kinds
    assert set(drift._ANSWERS) == kinds


@pytest.mark.parametrize(("page", "names"), [("tasks.md", NAMES), ("applications.md", WITH_ANSWERS)])
def test_every_task_has_a_row(page, names):
    rows = {line.split("`")[1] for line in (ROOT / "docs" / page).read_text("utf-8").splitlines() if line[:3] == "| `"}
    assert names <= rows
