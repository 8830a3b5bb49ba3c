"""Predicts, operator by operator, what the Edge TPU compiler will map. A prediction: it never blocks a compile.

`preflight_file` reads a file that is not trusted, in a child process; `preflight_model` reads bytes that are. What maps
on which condition is data (operators.toml), how operators group is partition.py.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct

from skerry_host.boards import NEWEST_EDGETPU_RUNTIME
from skerry_host.builder.edgetpu.conditions import ACTIVATIONS, CHECKS
from skerry_host.builder.edgetpu.inspect import CUSTOM_OP
from skerry_host.builder.edgetpu.partition import OpNode, causes, partition
from skerry_host.builder.edgetpu.sandbox import ask
from skerry_host.builder.edgetpu.table import OperatorTable, operator_table
from skerry_host.builder.edgetpu.view import Node, View, view
from skerry_host.builder.modelfile.tflite import read_model

Outcome = Literal["maps", "cpu", "unknown"]


class Predicted(Struct, frozen=True):
    """One operator. `status` is the compiler's wording, "" where nothing is known; `cause` is the operator to change.

    `reason` says in our words what was found, `evidence` by what; `sources` are the operators that feed this one;
    `output` and `shape` are those of its first output tensor.
    """

    index: int
    op: str
    verdict: Outcome
    status: str
    cause: int
    reason: str
    evidence: str
    sources: tuple[int, ...]
    output: str
    shape: str


class Preflight(Struct, frozen=True):
    """What is predicted for a whole model. `refusal` is set where the compiler is expected to give up the model."""

    predicted: Literal[True]
    all: tuple[Predicted, ...]
    refusal: str
    notes: tuple[str, ...]

    @property
    def mapped(self) -> int:
        """How many operators will run on the Edge TPU."""
        return sum(item.verdict == "maps" for item in self.all)

    @property
    def unmapped(self) -> tuple[Predicted, ...]:
        """Those that will not, or may not."""
        return tuple(item for item in self.all if item.verdict != "maps")

    @property
    def causes(self) -> tuple[Predicted, ...]:
        """The operators to change, each once."""
        return tuple(self.all[index] for index in dict.fromkeys(item.cause for item in self.unmapped))


@dataclass(frozen=True, slots=True)
class _Standalone:
    """The verdict on one operator, whatever stands around it."""

    verdict: Outcome
    status: str = ""
    reason: str = ""
    evidence: str = ""


def preflight_file(path: Path, runtime: int = NEWEST_EDGETPU_RUNTIME) -> Preflight:
    """Predict for a file, in a child process; raises `ModelError` when it is not TFLite, or damaged."""
    return ask("preflight", path, Preflight, runtime=runtime)


def preflight_model(data: bytes, runtime: int = NEWEST_EDGETPU_RUNTIME) -> Preflight:
    """Predict for trusted bytes and devices with that `runtime`. Raises `DamagedError`."""
    return predict(view(read_model(data)), runtime)


def predict(seen: View, runtime: int) -> Preflight:
    """Predict for a graph and devices with that `runtime`."""
    table = operator_table()
    alone = [_standalone(node, table, runtime) for node in seen.nodes]
    too_new = [node.op.index for node in seen.nodes if _too_new(node, table)]
    refused = tuple(_refused(seen, table, index) for index in too_new[:1])
    return Preflight(
        predicted=True,
        all=_all_refused(seen, alone, table, too_new) if too_new else _partitioned(seen, alone, table),
        refusal="".join(refused),
        notes=tuple(_notes(seen, table)),
    )


def preflight_to_json(path: Path, runtime: int) -> bytes:
    """What the child process does."""
    return msgspec.json.encode(preflight_model(path.read_bytes(), runtime))


def _too_new(node: Node, table: OperatorTable) -> bool:
    newest = table.newest_version(node.op)
    return newest is not None and node.op.version > newest


def _standalone(node: Node, table: OperatorTable, runtime: int) -> _Standalone:
    row = table.operators.get(node.op.name)
    if row is None:
        return _unlisted(node, table)
    if row.status:
        return _Standalone("cpu", table.status[row.status], "it is never mapped", table.sources["logs"])
    unsure = _Standalone("maps", table.status["mapped"], "", table.sources["files"])
    for condition in table.conditions_of(row):
        holds = CHECKS[condition.check](node, row, condition)
        evidence = f"{condition.evidence} ({table.sources[condition.source]})"
        if holds is False:
            return _Standalone("cpu", table.status[condition.status], f"not met: {condition.text}", evidence)
        if holds is None and unsure.verdict == "maps":
            unsure = _Standalone("unknown", "", f"not certain: {condition.text}", evidence)
    if row.evidence == "documented":
        logged = f"; public logs: {row.logged}" if row.logged else ""
        return _Standalone(
            "unknown", "", "documented, but not seen in any compiled file", table.sources["table"] + logged
        )
    if row.runtime > runtime:
        return _Standalone("unknown", "", f"documented for runtime {row.runtime} and newer", table.sources["table"])
    return unsure


def _unlisted(node: Node, table: OperatorTable) -> _Standalone:
    """Not in the table. What is named for a custom operator that computes on floats is another wording."""
    if node.op.name == CUSTOM_OP:
        return _Standalone("cpu", table.status["unsupported"], "it is compiled already", table.sources["files"])
    floats = any(t.dtype.startswith("float") for t in (*node.present(), *node.outputs))
    status = "dtype" if node.op.custom and floats else "unsupported"
    return _Standalone(
        "cpu", table.status[status], "it is not in the table of operators that map", table.sources["table"]
    )


def _partitioned(seen: View, alone: Sequence[_Standalone], table: OperatorTable) -> tuple[Predicted, ...]:
    """Certain is what comes out both when unknown operators map and when they do not."""
    sources = _sources(seen)
    hopeful = [OpNode(a.verdict != "cpu", s) for a, s in zip(alone, sources, strict=True)]
    careful = [OpNode(a.verdict == "maps", s) for a, s in zip(alone, sources, strict=True)]
    best, worst = partition(hopeful), partition(careful)
    broken, doubted = causes(hopeful, best), causes(careful, worst)
    found = []
    for index, node in enumerate(seen.nodes):
        mapped = best.mapped(index), worst.mapped(index)
        guilty = doubted[index] if any(mapped) else broken[index]
        own = all(mapped) or (guilty == index and alone[index].verdict != "maps")
        verdict = alone[index] if own else _following(alone[guilty], guilty, mapped, table)
        found.append(_predicted(node, verdict, guilty, sources))
    return tuple(found)


def _following(culprit: _Standalone, guilty: int, mapped: tuple[bool, bool], table: OperatorTable) -> _Standalone:
    """The verdict on an operator that another one keeps off the Edge TPU, or perhaps does."""
    if any(mapped):
        return _Standalone("unknown", "", f"unknown because operator {guilty} is", culprit.evidence)
    evidence = f"{table.partition.evidence} ({table.sources[table.partition.source]})"
    return _Standalone("cpu", table.status["subgraph"], f"it follows operator {guilty}", evidence)


def _all_refused(
    seen: View, alone: Sequence[_Standalone], table: OperatorTable, too_new: Sequence[int]
) -> tuple[Predicted, ...]:
    """Nothing maps: the compiler gives up the model because of operators whose version it does not know."""
    sources = _sources(seen)
    newer = _Standalone("cpu", table.status["version"], "its version is newer than the compiler", table.versions_source)
    follows = _Standalone(
        "cpu", table.status["limitation"], f"the compiler rejects the whole model for operator {too_new[0]}"
    )
    return tuple(
        _predicted(node, newer, node.op.index, sources)
        if node.op.index in too_new
        else _predicted(node, alone[node.op.index], node.op.index, sources)
        if alone[node.op.index].verdict == "cpu"
        else _predicted(node, follows, too_new[0], sources)
        for node in seen.nodes
    )


def _refused(seen: View, table: OperatorTable, index: int) -> str:
    op = seen.nodes[index].op
    newest = table.newest_version(op)
    known = f"it knows {op.name} up to version {newest}" if newest else f"it does not know {op.name}"
    return (
        f"the compiler will reject the model: {known}, operator {index} is version {op.version};"
        " convert it with TensorFlow 2.6 or older settings"
    )


def _predicted(node: Node, verdict: _Standalone, cause_index: int, sources: Sequence[frozenset[int]]) -> Predicted:
    index = node.op.index
    return Predicted(
        index=index,
        op=node.op.name,
        verdict=verdict.verdict,
        status=verdict.status,
        cause=index if verdict.verdict == "maps" else cause_index,
        reason=verdict.reason,
        evidence=verdict.evidence,
        sources=tuple(sorted(sources[index])),
        output="".join(tensor.name for tensor in node.outputs[:1]),
        shape="".join("x".join(map(str, tensor.shape)) or "scalar" for tensor in node.outputs[:1]),
    )


def _sources(seen: View) -> list[frozenset[int]]:
    """For each operator those that it waits for."""
    makers = seen.producers()
    waits = ({makers[t.index] for t in node.present() if t.index in makers} for node in seen.nodes)
    return [frozenset(sources - {index}) for index, sources in enumerate(waits)]


def _notes(seen: View, table: OperatorTable) -> list[str]:
    """What concerns the whole model."""
    computed = [tensor for node in seen.nodes for tensor in node.outputs]
    notes = []
    if any(node.op.name == CUSTOM_OP for node in seen.nodes):
        notes.append("it is compiled already: give the source model, or see `skerry edgetpu inspect`")
    elif computed and not any(t.dtype in ACTIVATIONS and t.channels for t in computed):
        notes.append("no operator computes on quantized values: the compiler calls such a model not quantized")
    if seen.graph.subgraphs > 1:
        notes.append(f"{seen.graph.subgraphs} subgraphs: only the first is checked")
    largest = largest_activation(seen)
    if largest > table.activations.largest_mapped_bytes:
        known = table.activations
        notes.append(
            f"the largest activation has {largest} bytes, the largest seen to map {known.largest_mapped_bytes}: the"
            " compiler may fail on large activations, and `-d` may then map a part"
        )
    return notes


def largest_activation(seen: View) -> int:
    """Bytes of the largest 8-bit activation."""
    return max((prod(t.shape) for node in seen.nodes for t in node.outputs if t.dtype in ACTIVATIONS), default=0)
