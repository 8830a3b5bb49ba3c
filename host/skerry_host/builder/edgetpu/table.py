"""Loads the operator table (operators.toml, versions.toml): what maps, on which condition, by what evidence.

Data only: the checks that the table names are in conditions.py, and how verdicts combine in partition.py.
"""

import tomllib
from functools import cache
from importlib import resources
from typing import Any, Literal

from ai_edge_litert.schema_py_generated import BuiltinOperator
from msgspec import Struct

from skerry_agent.wire import codec
from skerry_host.builder.modelfile.graph import Op

PACKAGE = "skerry_host.builder.edgetpu"
Evidence = Literal["mapped", "documented", "cpu"]


class Condition(Struct, frozen=True, forbid_unknown_fields=True):
    """What must hold: `check` with `limit` says whether; `status` and `text` say what it means when it does not."""

    name: str
    check: str
    status: str
    text: str
    evidence: str
    source: str
    general: bool = False
    limit: float = 0.0
    fails_from: float = 0.0


class Operator(Struct, frozen=True, forbid_unknown_fields=True):
    """One row: `data`, `constant` and `state` are positions of inputs; `axes` is the position of the axes, if any."""

    names: tuple[str, ...]
    runtime: int
    evidence: Evidence
    data: tuple[int, ...] | Literal["all"]
    constant: tuple[int, ...] = ()
    state: tuple[int, ...] = ()
    axes: int | None = None
    any_rank: bool = False
    first: tuple[str, ...] = ()
    conditions: tuple[str, ...] = ()
    status: str = ""
    logged: str = ""

    def data_positions(self, inputs: int) -> tuple[int, ...]:
        """The positions of inputs that are computed at run time, of so many inputs."""
        return tuple(range(inputs)) if self.data == "all" else self.data


class PartitionEvidence(Struct, frozen=True, forbid_unknown_fields=True):
    """By what evidence operators are grouped as they are."""

    rule: str
    evidence: str
    source: str


class ActivationEvidence(Struct, frozen=True, forbid_unknown_fields=True):
    """The largest activation that was seen to map, and by what evidence more is a risk."""

    largest_mapped_bytes: int
    evidence: str
    source: str


class _Rows(Struct, frozen=True, forbid_unknown_fields=True):
    sources: dict[str, str]
    status: dict[str, str]
    partition: PartitionEvidence
    activations: ActivationEvidence
    condition: tuple[Condition, ...]
    operator: tuple[Operator, ...]


class _Versions(Struct, frozen=True, forbid_unknown_fields=True):
    source: str
    evidence: str
    last: str
    newest: dict[str, int]


class OperatorTable(Struct, frozen=True):
    """The table, by name. `status` is the compiler's wording; `newest` the newest version of each operator it knows.

    Builtin operators with a higher code than `last_code` came after the compiler.
    """

    sources: dict[str, str]
    status: dict[str, str]
    partition: PartitionEvidence
    activations: ActivationEvidence
    conditions: dict[str, Condition]
    operators: dict[str, Operator]
    newest: dict[str, int]
    last_code: int
    versions_source: str

    def newest_version(self, op: Op) -> int | None:
        """The newest version of an operator that the compiler knows, 0 if none, `None` if that is not known."""
        if op.custom or op.name in self.newest:
            return None if op.custom else self.newest[op.name]
        return 0 if getattr(BuiltinOperator, op.name, 0) > self.last_code else None

    def conditions_of(self, operator: Operator) -> list[Condition]:
        """The conditions of an operator, in the order in which they are tried."""
        skipped = {"rank"} if operator.any_rank else set()
        general = [c.name for c in self.conditions.values() if c.general and c.name not in skipped]
        return [self.conditions[name] for name in (*operator.first, *general, *operator.conditions)]


@cache
def operator_table() -> OperatorTable:
    """The table of this release of Skerry."""
    rows = codec.convert(_read("operators.toml"), _Rows)
    versions = codec.convert(_read("versions.toml"), _Versions)
    return OperatorTable(
        sources=rows.sources,
        status=rows.status,
        partition=rows.partition,
        activations=rows.activations,
        conditions={condition.name: condition for condition in rows.condition},
        operators={name: operator for operator in rows.operator for name in operator.names},
        newest=versions.newest,
        last_code=getattr(BuiltinOperator, versions.last),
        versions_source=versions.source,
    )


def _read(name: str) -> dict[str, Any]:
    return tomllib.loads(resources.files(PACKAGE).joinpath(name).read_text("utf-8"))
