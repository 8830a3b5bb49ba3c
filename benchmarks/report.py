"""Writes docs/benchmarks.md from what the benchmarks left in a folder: misses first. Measures nothing.

    python benchmarks/report.py RESULTS DOCUMENT PROGRAM...

A program that left no result (it failed before its end) is named as such.
"""

import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

HEAD = """# Benchmarks
Written by `make bench`, which runs every program of `benchmarks/`; do not edit. One run on one machine on {date}:
timings and rates depend on it and on what else it did, so each figure stands beside its peer of the same run, and each
benchmark with the load that it saw.

"""


def document(results: Sequence[dict[str, Any]], failed: Sequence[str], date: str) -> str:
    """The page: goals missed, goals met, what was not run, and the load of each."""
    rows = [(result["benchmark"], goal) for result in results for goal in result["goals"]]
    missed, met = ([row for row in rows if row[1]["met"] is kept] for kept in (False, True))
    parts = [HEAD.format(date=date)]
    parts += [f"## Missed: {len(missed)} of {len(rows)} goals\n", _table(missed)]
    if failed:
        parts.append(f"Ended before their figures: {', '.join(f'`{name}`' for name in sorted(failed))}.\n\n")
    parts += [f"## Met: {len(met)}\n", _table(met)]
    skipped = [f"- **{result['benchmark']}**: {result['skipped']}\n" for result in results if "skipped" in result]
    parts += ["## Not run here\n", *skipped, "\n"] if skipped else []
    parts += [
        "## The machine meanwhile\n",
        "| benchmark | cores | load at its end | seconds | of its own CPU |\n|---|---|---|---|---|\n",
    ]
    parts += [_load(result["benchmark"], result["load"]) for result in results]
    return "".join(parts)


def _table(rows: Sequence[tuple[str, dict[str, Any]]]) -> str:
    if not rows:
        return "None.\n\n"
    lines = [_row(name, goal) for name, goal in sorted(rows, key=lambda row: (row[0], row[1]["name"]))]
    return "| benchmark | figure | measured | goal | beside |\n|---|---|---|---|---|\n" + "".join(lines) + "\n"


def _row(name: str, goal: dict[str, Any]) -> str:
    measured, limit = (f"{goal[key]:.4g} {goal['unit']}".strip() for key in ("measured", "limit"))
    cells = (name, goal["name"], f"**{measured}**", f"{goal['sense']} {limit}", goal["peer"])
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |\n"


def _load(name: str, load: dict[str, float]) -> str:
    return f"| {name} | {load['cores']} | {load['load_1min']} | {load['seconds']} | {load['own_cpu_s']} s |\n"


def main() -> int:
    """Write the page; 1 when a goal was missed or a program has failed."""
    folder, page, programs = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:]
    results = [json.loads(file.read_text("utf-8")) for file in sorted(folder.glob("*.json"))]
    there = {result["benchmark"] for result in results}
    failed = [Path(program).stem for program in programs if Path(program).stem not in there]
    page.write_text(document(results, failed, datetime.now(UTC).date().isoformat()), "utf-8")
    return int(bool(failed) or any(not goal["met"] for result in results for goal in result["goals"]))


if __name__ == "__main__":
    sys.exit(main())
