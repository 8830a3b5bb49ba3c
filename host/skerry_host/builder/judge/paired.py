"""Evaluates models beside the float one, on as many held-out samples as the gates' decisions need. Decides no gate.

Samples come in one seeded random order. After each further part the tests of `sequential` are asked whether it is sure
yet that all of the samples would keep the budget, or that they would not; where it is never sure, all are used.
"""

import math
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import ceil
from typing import Any

import numpy as np

from skerry_agent.processing import Array, Feeding
from skerry_agent.wire.manifest import ChannelSignal
from skerry_host.build_record import Sampling
from skerry_host.builder.data.kept import fitting
from skerry_host.builder.data.samples import Samples
from skerry_host.builder.judge.channels import ChannelSums, OutputForm, channel_signals, is_one_kind, output_scales
from skerry_host.builder.judge.evaluate import Answered, Score, labels_of, real_outputs, score_of
from skerry_host.builder.judge.gates import loss
from skerry_host.builder.judge.kept_classes import LEAST, MOST, KeptClass, kept_classes, waited_for
from skerry_host.builder.judge.sequential import interval_at_any_time
from skerry_host.builder.judge.signal import as_seen, energies
from skerry_host.builder.judge.stopping import RISK, is_kept, is_missed, signs
from skerry_host.builder.judge.tasks.base import Case, Measure, Remembered, View, view_of
from skerry_host.builder.judge.tasks.table import has_seen, judged_outputs, measure, one_by_one, require
from skerry_host.builder.modelfile.describe import describe_any
from skerry_host.builder.recipe.progress import Progress, silent
from skerry_host.builder.recipe.recipe import Recipe
from skerry_host.builder.recipe.through_sigmoid import through_sigmoid
from skerry_host.builder.runtime.session import Sessions, is_stateful

FIRST, GROWTH = 128, 1.25
"""Samples before the first look, and how many times as many there are at the next."""
SEED = 0
MOST_IN_MEMORY = 256 * 1024**2
"""Bytes of one output's answers to all samples."""
CONSTANTS, CONSTANT_SAMPLES = 8, 64
"""Answers that are tried as always the same one, and the samples that they are tried on."""
AT_ONCE = 128 * 1024**2
"""Bytes of answers that a model gives before they are put away."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """A model and the float one on the same samples; `right` (N,) says which of them the model answers correctly.

    It is None where the metric is no mean of samples. `channels` are the blocks of every output, `places` (N,) those of
    the samples in the data set. `settled` names the outputs that the metric itself judges, where it shows that answers
    follow the samples: no answer that is always the same would reach it; `followed` those of them that need no SQNR.
    `classes` are those that the float model finds, and how often the other one still does.
    """

    reference: Score
    score: Score
    right: Array | None
    sampling: Sampling
    channels: tuple[ChannelSignal, ...]
    places: Array
    settled: frozenset[str] = frozenset()
    followed: frozenset[str] = frozenset()
    classes: tuple[KeptClass, ...] = ()


class PairedEvaluation:
    """Keeps what the float model and the last other one have answered, so that it is not asked for again."""

    def __init__(self, reference: bytes, samples: Samples, recipe: Recipe, progress: Progress = silent) -> None:
        self._samples, self._recipe, self._progress = samples, recipe, progress
        count = len(samples)
        self._in_order = is_stateful(describe_any(reference), recipe.feeding)
        self._order = np.arange(count) if self._in_order else np.random.default_rng(SEED).permutation(count)
        self._reference = _Answers(reference, count)
        self._last = self._reference
        self._constant: float | None = None
        self._of_classes = waited_for(samples.truth, recipe.meaning) if self._goes_by_parts() else []

    def compare(self, model: bytes) -> Comparison:
        """Run a model and the float one on further samples until it is sure what all of them would say.

        Raises `RecipeError` (postprocess) for a detector that detects nothing, `ModelError`.
        """
        own = self._answers_of(model)
        count = next(count for count in self._looks(own) if self._sure(own, count))
        for answers in (self._reference, own):
            answers.unload()
        reference, score = self._score(self._reference, count), self._score(own, count)
        right = own.right[:count] if own.by_sample else None
        sampling = Sampling(count, len(self._samples), RISK)
        shown = own is not self._reference and self._follows(own, score)
        settled = self._judged_outputs() if shown else frozenset[str]()
        followed = settled if score.one_answer != 1.0 else frozenset[str]()
        places = self._order[:count]
        channels, classes = self._channels(own), self._classes(own, count)
        return Comparison(reference, score, right, sampling, channels, places, settled, followed, classes)

    def _classes(self, own: "_Answers", count: int) -> tuple[KeptClass, ...]:
        if own is self._reference:
            return ()
        chosen = self._order[:count]
        case = Case(self._recipe.meaning, self._view(own, chosen))
        known, names = self._samples.subset(chosen), self._recipe.labels.names
        return kept_classes(self._reference.first(count), own.first(count), known, case, names)

    def _follows(self, own: "_Answers", score: Score) -> bool:
        """Whether a score shows that answers follow the samples."""
        if score.one_answer is not None:
            return score.tells_apart or score.repeats
        if not self._judged_places():
            return False
        self._constant = self._best_constant(self._reference) if self._constant is None else self._constant
        constants, same = (self._constant, self._best_constant(own)), self._first_measure(own)
        best = max(constants) if score.better == "higher" else min(constants)
        return score.beats(best) and loss(best, same.value, score.better) < 0

    def _best_constant(self, answers: "_Answers") -> float:
        """What the metric gives for answering all samples as a model answers one of them, at best."""
        count = min(self._reference.count, CONSTANT_SAMPLES)
        tried = [self._first_measure(answers, at) for at in range(0, count, max(1, count // CONSTANTS))]
        values = [one.value for one in tried]
        return max(values) if tried[0].better == "higher" else min(values)

    def _first_measure(self, answers: "_Answers", always: int | None = None) -> Measure:
        """The metric of the first samples, of which all may be answered as one of them is."""
        count = min(self._reference.count, CONSTANT_SAMPLES)
        chosen = self._order[:count]
        given: Sequence[Array] = answers.first(count)
        known = self._samples.subset(chosen).compared_with(self._reference.first(count))
        if always is not None:
            given = [np.repeat(part[always : always + 1], count, axis=0) for part in given]
        return measure(given, known, self._recipe.meaning, self._view(answers, chosen))

    def _judged_outputs(self) -> frozenset[str]:
        names = [*self._reference.outputs]
        return frozenset(names[place] for place in self._judged_places())

    def _judged_places(self) -> list[int]:
        return [*judged_outputs(self._recipe.meaning, len(self._reference.outputs))]

    def _channels(self, own: "_Answers") -> tuple[ChannelSignal, ...]:
        """The blocks of channels of each output of the float model, and what they show in the other."""
        alone = own is self._reference
        graph, task = self._reference.graph, self._recipe.meaning
        if graph.joins:  # its blocks are outputs already
            return ()
        forms = [
            OutputForm(graph, place, is_one_kind(task.name, place), scales, alone)
            for place, scales in enumerate(output_scales(own.graph))
        ]
        return tuple(
            signal
            for name, sums, form in zip(self._reference.outputs, own.channels, forms, strict=True)
            for signal in channel_signals(name, sums, form)
        )

    def _answers_of(self, model: bytes) -> "_Answers":
        for known in (self._reference, self._last):
            if known.model == model:
                return known
        self._last = _Answers(model, len(self._samples))
        return self._last

    def _looks(self, own: "_Answers") -> Iterator[int]:
        """How many samples there are at each look; only one where less than all of them can say nothing."""
        count, following = len(self._samples), FIRST
        while own is not self._reference and self._goes_by_parts() and following < count:
            yield following
            following = ceil(following * GROWTH)
        yield count

    def _goes_by_parts(self) -> bool:
        apart = one_by_one(self._samples, self._recipe.meaning) and not self._in_order
        return apart and self._recipe.data.evaluate == "enough"

    def _sure(self, own: "_Answers", count: int) -> bool:
        self._grow(self._reference, count)
        if own is not self._reference:
            self._grow(own, count)
        if count == len(self._samples):
            return True
        if not has_seen(
            self._reference.first(count), self._recipe.meaning, self._view(self._reference, self._order[:count])
        ):
            return False
        if not own.by_sample or self._near_chance(count):
            return False
        marks, budget = (self._reference.right[:count], own.right[:count]), self._recipe.budget
        open_places = self._judged_places() if budget.min_sqnr_db is None else []
        others, opened = np.delete(own.energies[:count], open_places, axis=1), own.energies[:count, open_places]
        if is_missed(marks, others, budget, len(self._samples)):
            return True  # whatever classes it keeps
        if any(there[self._order[:count]].sum() < LEAST for there in self._of_classes) and count < MOST:
            return False
        return is_kept(marks, others, budget, len(self._samples)) and self._needs_no_signal(own, opened)

    def _needs_no_signal(self, own: "_Answers", opened: Array) -> bool:
        """Whether outputs that the metric may settle have their SQNR, or are settled: it alone never refuses them."""
        if all(sign < 0 for sign in signs(opened, self._recipe.budget, RISK)):
            return True
        score = self._score(own, own.count)
        return score.one_answer != 1.0 and self._follows(own, score)

    def _near_chance(self, count: int) -> bool:
        """Whether the float model might still be one that guesses, which takes all samples to say."""
        chance = self._reference.chance
        low = interval_at_any_time(int(self._reference.right[:count].sum()), count)[0]
        return chance is not None and low <= chance

    def _grow(self, answers: "_Answers", count: int) -> None:
        """Run a model on the samples up to `count` and note which are right, and the energies beside the float one."""
        start, task = answers.count, self._recipe.meaning
        if start >= count:
            return
        answers.run(self._samples, self._order[start:count], self._recipe.feeding, self._progress)
        part = self._order[start:count]
        if count == len(self._samples):
            require(self._reference.first(count), task, self._view(answers, self._order))
        reference, got = self._reference.first(count, start), answers.first(count, start)
        known = self._samples.subset(part).compared_with(reference)
        found = measure(got, known, task, self._view(answers, part))
        answers.by_sample, answers.chance = found.marks is not None, found.chance
        answers.measured = found if start == 0 else None
        if found.marks is not None:
            answers.right[start:count] = found.marks
        seen, heard = self._seen(reference), self._seen(got)
        answers.energies[start:count] = _energies(seen, heard)
        answers.add_channels(seen, heard)

    def _seen(self, outputs: Sequence[Array]) -> list[Array]:
        """Outputs (N, ...) as far as they are told apart by who reads them."""
        places = through_sigmoid(self._recipe.meaning, [part.shape for part in outputs])
        return [as_seen(part) if place in places else part for place, part in enumerate(outputs)]

    def _view(self, answers: "_Answers", chosen: Array) -> View:
        view = view_of(answers.graph, self._recipe.feeding, self._samples)
        return replace(view, samples=view.samples.only(chosen))

    def _score(self, answers: "_Answers", count: int) -> Score:
        chosen = self._order[:count]
        outputs = dict(zip(answers.outputs, answers.first(count), strict=True))
        known = self._samples.subset(chosen).compared_with(self._reference.first(count))
        answered = Answered(outputs, known, self._recipe.meaning, self._view(answers, chosen))
        measured = answers.measured if answers.count == count else None
        score = score_of(answered, labels_of(known, self._recipe.meaning), measured)
        if count == len(self._samples):
            return score
        return replace(score, interval=interval_at_any_time(int(answers.right[:count].sum()), count))


class _Answers:
    """A model's real-valued answers for the first samples of the order; memory is taken as they come.

    `measured` is what they measure, where all of them came at once.
    """

    def __init__(self, model: bytes, population: int) -> None:
        self.model, self.graph, self.count = model, describe_any(model), 0
        self.by_sample = True
        self.chance: float | None = None
        self.measured: Measure | None = None
        self.right = np.zeros(population, bool)
        self.channels: list[ChannelSums] = []
        self.energies = np.zeros((population, 0, 2))
        self.outputs: dict[str, Array] = {}
        self._sessions: Sessions | None = None
        self._first: tuple[tuple[int, int], Remembered] | None = None

    def run(self, samples: Samples, chosen: Array, feeding: Feeding, progress: Progress) -> None:
        """Add the answers for the chosen samples, no more at a time than fit into memory."""
        inputs, left = fitting(samples.inputs, feeding, self.graph.input_specs())
        self._sessions = self._sessions or Sessions(self.model, left, len(chosen))
        values = sum(math.prod(spec.shape) for spec in self.graph.output_specs())
        most = max(1, AT_ONCE // max(1, 4 * values))
        for start in range(0, len(chosen), most):
            part = chosen[start : start + most]
            self._add(real_outputs(self.model, self._sessions.run(inputs, part, progress)), len(part))

    def _add(self, real: dict[str, Array], count: int) -> None:
        if not self.outputs:
            population = len(self.right)
            self.outputs = {name: room_for((population, *part.shape[1:]), part.dtype) for name, part in real.items()}
            self.energies = np.zeros((population, len(real), 2))
        for name, part in real.items():
            self.outputs[name][self.count : self.count + count] = part
        self.count += count

    def first(self, count: int, start: int = 0) -> Remembered:
        """The answers from `start` to `count`, one array per output."""
        if self._first is None or self._first[0] != (start, count):
            self._first = (start, count), Remembered(part[start:count] for part in self.outputs.values())
        return self._first[1]

    def add_channels(self, reference: Sequence[Array], got: Sequence[Array]) -> None:
        """Add to the sums over the channels of each output, beside the float model's values."""
        self.channels = self.channels or [ChannelSums() for _ in reference]
        for sums, one, other in zip(self.channels, reference, got, strict=True):
            sums.add(one, other)

    def unload(self) -> None:
        """Free the loaded model."""
        self._sessions = None


def room_for(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """Room for answers: on disk where they are many and large, as a detector's are; it is gone with the array."""
    if math.prod(shape) * dtype.itemsize <= MOST_IN_MEMORY:
        return np.empty(shape, dtype)
    with tempfile.TemporaryFile(prefix="skerry-answers-") as file:
        return np.memmap(file, dtype, "w+", shape=shape)


def _energies(truth: Sequence[Array], got: Sequence[Array]) -> Array:
    """Of each sample and output the sums of squares of the float model's values, and of what differs from them."""
    found = np.empty((len(truth[0]), len(truth), 2))
    with np.errstate(invalid="ignore", over="ignore"):
        for output, (wanted, have) in enumerate(zip(truth, got, strict=True)):
            for at, (one, other) in enumerate(zip(wanted, have, strict=True)):
                found[at, output] = energies(one, other)
    return found
