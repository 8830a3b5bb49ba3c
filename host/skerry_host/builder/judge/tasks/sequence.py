"""Sequences: texts, measured by the characters that are wrong (CER), as the device reads them."""

from collections.abc import Sequence

import numpy as np

from skerry_agent.processing import Array, Symbols
from skerry_host.builder.judge.tasks.base import (
    Case,
    Classes,
    Measure,
    Outputs,
    TaskRules,
    Truth,
    answers,
    figure,
    pooled,
    unfit,
)

AGREEMENT = "same characters"


def judge(outputs: Outputs, truth: Truth, case: Case) -> Measure:
    """The character error rate: edits over characters, all samples together."""
    if not case.meaning.labels:
        raise unfit("labels.names: texts cannot be compared without the character of each symbol", "name the alphabet")
    got = [read.text(case.meaning.labels) for read in read_all(outputs, case)]
    edits, lengths = _compared(got, list(truth))
    whole = float(np.mean(edits == 0))
    return pooled(
        "CER",
        lambda chosen: _rate(edits[chosen], lengths[chosen]),
        len(got),
        better="lower",
        chance=1.0,
        figures=(figure("whole texts", whole),),
    )


def agree(outputs: Outputs, reference: Outputs, case: Case) -> Measure:
    """Characters that are the same as the float model's: 1 less the error rate between them."""
    got, wanted = ([read.indices for read in read_all(side, case)] for side in (outputs, reference))
    edits, lengths = _compared(got, wanted)
    return pooled(AGREEMENT, lambda chosen: max(0.0, 1 - _rate(edits[chosen], lengths[chosen])), len(got))


def read_all(outputs: Outputs, case: Case) -> list[Symbols]:
    """What the device reads in each sample."""
    return list(answers(outputs, case))


def edit_distance(one: Sequence[object], other: Sequence[object]) -> int:
    """How many insertions, deletions and replacements make one of the other (Levenshtein), row by row."""
    codes = {symbol: code for code, symbol in enumerate({*one, *other})}
    columns = np.array([codes[symbol] for symbol in other], np.int64)
    ramp = np.arange(len(other) + 1)
    row = ramp
    for count, symbol in enumerate(one, 1):
        replaced = row[:-1] + (columns != codes[symbol])
        best = np.concatenate([[count], np.minimum(row[1:] + 1, replaced)])
        row = np.minimum.accumulate(best - ramp) + ramp
    return int(row[-1])


def seen(outputs: Outputs, case: Case) -> bool:
    """Whether anything is read in any sample."""
    return any(read.indices for read in answers(outputs, case))


def require(outputs: Outputs, case: Case) -> None:
    """Refuse outputs in which nothing is ever read."""
    if not seen(outputs, case):
        raise unfit(f"nothing is read in any of {len(outputs[0])} samples: check blank")


def classes(outputs: Outputs, case: Case) -> Classes:
    """The symbols of each answer."""
    return [frozenset(read.indices) for read in answers(outputs, case)]


def _compared(got: Sequence[Sequence[object]], wanted: Sequence[Sequence[object]]) -> tuple[Array, Array]:
    """Edits and characters of each sample (N,)."""
    edits = np.array([edit_distance(one, other) for one, other in zip(got, wanted, strict=True)])
    return edits, np.array([len(one) for one in wanted])


def _rate(edits: Array, lengths: Array) -> float:
    return float(edits.sum() / max(1, lengths.sum()))


RULES = TaskRules(
    agree, judge, agreement=AGREEMENT, one_by_one=False, by_sample=False, require=require, seen=seen, classes=classes
)
