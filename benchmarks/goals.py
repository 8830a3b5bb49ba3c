"""The goals of a benchmark: what was measured beside what it must reach. Ends the program by whether all were met.

Every benchmark ends with `finish`: a table for people on stderr, one JSON object on stdout and, where
`SKERRY_BENCH_OUT` names a folder, the same object in a file there, from which docs/benchmarks.md is written. Measures
nothing itself, except how busy the machine was meanwhile.
"""

import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, NoReturn

_STARTED, _CPU = time.monotonic(), os.times()


@dataclass(frozen=True)
class Goal:
    """One figure and its limit. `peer` says what the same run measured of another tool, in the same unit."""

    name: str
    measured: float
    limit: float
    unit: str
    sense: Literal["<=", ">="] = "<="
    peer: str = ""

    @property
    def met(self) -> bool:
        """Whether the figure keeps its limit; a figure that is no number does not."""
        return self.measured <= self.limit if self.sense == "<=" else self.measured >= self.limit


def finish(benchmark: str, goals: Sequence[Goal], details: dict[str, Any] | None = None) -> NoReturn:
    """Print and keep the figures; exits with 0 when every goal was met, else with 1."""
    rows = [{**asdict(goal), "met": goal.met} for goal in goals]
    result = {"benchmark": benchmark, "goals": rows, "load": _load(), "details": details or {}}
    for goal in goals:
        mark = "met   " if goal.met else "MISSED"
        beside = f"   beside: {goal.peer}" if goal.peer else ""
        print(f"{mark} {goal.name}: {goal.measured:g} {goal.sense} {goal.limit:g} {goal.unit}{beside}", file=sys.stderr)
    print(json.dumps(result, indent=2))
    _keep(benchmark, result)
    sys.exit(0 if goals and all(goal.met for goal in goals) else 1)


def skip(benchmark: str, reason: str) -> NoReturn:
    """Say what is absent here; exits with 0, and docs/benchmarks.md says that it was not run."""
    result = {"benchmark": benchmark, "goals": [], "load": _load(), "skipped": reason}
    print(json.dumps(result))
    _keep(benchmark, result)
    sys.exit(0)


def _keep(benchmark: str, result: dict[str, Any]) -> None:
    folder = os.environ.get("SKERRY_BENCH_OUT")
    if folder:
        (Path(folder) / f"{benchmark}.json").write_text(json.dumps(result), encoding="utf-8")


def _load() -> dict[str, float]:
    """Cores in the machine, those that were busy on average lately (also with others' work), and how long it took."""
    own = os.times()
    return {
        "cores": os.cpu_count() or 1,
        "load_1min": round(os.getloadavg()[0], 2),
        "seconds": round(time.monotonic() - _STARTED, 1),
        "own_cpu_s": round(sum(own[:4]) - sum(_CPU[:4]), 1),
    }
