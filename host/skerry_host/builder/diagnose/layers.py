"""Where an int8 model loses the signal: each activation against the float model's on real samples.

Knows no format: it asks models for their activations. Measures only; `advice` says what it means and what to try.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

from skerry_agent.processing import Array, Feeding, Sample, SampleSequence
from skerry_agent.wire.manifest import TensorSpec
from skerry_host.builder.diagnose.layer_stats import LayerStats, LayerStatsCollector
from skerry_host.builder.recipe.progress import Progress, silent, watched

SAMPLES = 16
"""Enough to rank layers."""


@dataclass(frozen=True, slots=True)
class Written:
    """What an operator writes and reads, by the names of activations; `index` counts the model's operators."""

    index: int
    op: str
    tensor: str
    reads: tuple[str, ...]


class Activations(Protocol):
    """A model whose activations can be read after a run."""

    @property
    def specs(self) -> Mapping[str, TensorSpec]:
        """The form of every activation that carries a signal, by name."""

    @property
    def written(self) -> Sequence[Written]:
        """All that is written, in the order of execution."""

    def run(self, sample: Sample, feeding: Feeding) -> None:
        """Run a raw sample."""

    def real(self, name: str) -> Array:
        """The real values of an activation in the last run, channels last."""


def layers(
    reference: Activations,
    quantized: Activations,
    samples: SampleSequence,
    feeding: Feeding,
    progress: Progress = silent,
) -> list[LayerStats]:
    """Every activation that both models have by the same name and shape, in the order of execution."""
    specs = reference.specs
    shared = [name for name, spec in quantized.specs.items() if name in specs and specs[name].shape == spec.shape]
    collectors = {name: LayerStatsCollector(quantized.specs[name]) for name in shared}
    some = (samples[index] for index in range(min(SAMPLES, len(samples))))
    with ThreadPoolExecutor(1) as beside:  # both run for seconds, each on one core
        for sample in watched(some, "comparing layers with the float model", progress, of=min(SAMPLES, len(samples))):
            running = beside.submit(reference.run, sample, feeding)
            quantized.run(sample, feeding)
            running.result()
            for name in shared:
                collectors[name].add(reference.real(name), quantized.real(name))
    return _chain(quantized.written, collectors)


def _chain(written: Sequence[Written], collectors: Mapping[str, LayerStatsCollector]) -> list[LayerStats]:
    """The layers in order, each with what was lost since its inputs."""
    found: list[LayerStats] = []
    decibels_of: dict[str, float] = {}
    for one in written:
        if one.tensor not in collectors:
            continue
        collector = collectors[one.tensor]
        came = [decibels_of[name] for name in one.reads if name in decibels_of]
        decibels_of[one.tensor] = collector.sqnr_db
        fall = max(0.0, min(came) - collector.sqnr_db) if came else 0.0
        found.append(collector.layer(one.index, one.op, one.tensor, fall))
    return found
