"""How often the Edge TPU prediction is right, operator by operator, on models that the real compiler compiled.

Beside it, on the same files: "everything maps" and the linear rule (what follows the first unsupported operator stays
on the CPU). Every NAME.tflite with a NAME_edgetpu.tflite in the folder is tried; where it has a pairs.csv, `inspect` is
held against its columns. Goals: every pair equal, every column equal. Times are shown, not judged.

    python benchmarks/edgetpu_preflight.py [FOLDER]
"""

import csv
import os
import statistics
import sys
from collections import Counter
from pathlib import Path
from time import perf_counter
from typing import Any, NoReturn

from skerry_host.builder.edgetpu.compare import compare
from skerry_host.builder.edgetpu.inspect import Inspection, inspect_model
from skerry_host.builder.edgetpu.preflight import Preflight, preflight_model

MODELS = Path(os.environ.get("SKERRY_REAL_MODELS", Path(__file__).parents[2] / "shared" / "models")) / "edgetpu"
SUFFIX = "_edgetpu.tflite"


def find_pairs(folder: Path) -> list[tuple[Path, Path]]:
    """(source, compiled) of every pair; a co-compiled file has the source of its first name."""
    found = []
    for compiled in sorted(folder.rglob(f"*{SUFFIX}")):
        stem = compiled.name.removesuffix(SUFFIX).partition("_cocompiled_with")[0]
        source = compiled.with_name(f"{stem}.tflite")
        if source.is_file():
            found.append((source, compiled))
    return found


def score(predicted: Preflight, compiled: Inspection) -> dict[str, bool]:
    """Whether the prediction, and each simpler rule, is right for every operator."""
    actual = compare(predicted, [compiled])
    left = {item.index for item in predicted.unmapped} - set(actual.mapped_after_all) | set(actual.left_on_cpu)
    failing = [item.index for item in predicted.unmapped if item.cause == item.index]
    linear = set(range(min(failing, default=len(predicted.all)), len(predicted.all)))
    return {"preflight": actual.equal, "linear_rule": linear == left, "everything_maps": not left}


def columns(found: Inspection) -> dict[str, str]:
    """What `inspect` says, as pairs.csv names and writes it."""
    names = " ".join(f"{name}:{count}" for name, count in sorted(Counter(found.cpu_ops).items()))
    said = {
        "compiled_size": found.bytes,
        "cpu_ops": len(found.cpu_ops),
        "n_custom": found.custom_ops,
        "cpu_op_names": names,
        "exec_types": found.exec_types,
        "cached_param_bytes": found.cached_param_bytes,
        "streamed_param_bytes": found.streamed_param_bytes,
        "est_cycles": found.estimated_cycles or 0,
        "narrow_per_tile": found.narrow_memory_bytes_per_tile,
        "min_runtime": found.min_runtime,
        "token": found.token,
    }
    return {key: str(value) for key, value in said.items()}


def bench_preflight(pairs: list[tuple[Path, Path]]) -> dict[str, Any]:
    """Equal pairs by rule, operators, and what is wrong where."""
    rules: Counter[str] = Counter()
    operators, unknown, times, wrong = 0, 0, [], {}
    for source, compiled in pairs:
        data = source.read_bytes()
        start = perf_counter()
        predicted = preflight_model(data)
        times.append(perf_counter() - start)
        actual = inspect_model(compiled.read_bytes())
        rules.update(rule for rule, right in score(predicted, actual).items() if right)
        operators += len(predicted.all)
        unknown += sum(item.verdict == "unknown" for item in predicted.all)
        found = compare(predicted, [actual])
        if not found.equal:
            wrong[compiled.name] = {"mapped_after_all": found.mapped_after_all, "left_on_cpu": found.left_on_cpu}
    return {
        "pairs": len(pairs),
        "operators": operators,
        "unknown_operators": unknown,
        "equal_pairs": {rule: rules[rule] for rule in ("preflight", "linear_rule", "everything_maps")},
        "wrong": wrong,
        "median_ms": round(1e3 * statistics.median(times), 1) if times else None,
    }


def bench_inspect(folder: Path) -> dict[str, Any]:
    """Files whose every column equals the ground truth."""
    truth = folder / "pairs.csv"
    if not truth.is_file():
        return {"files": 0}
    with truth.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    wrong = {}
    for row in rows:
        said = columns(inspect_model((folder / row["pair"]).read_bytes()))
        differs = {key: [value, row[key]] for key, value in said.items() if key in row and value != row[key]}
        if differs:
            wrong[row["pair"]] = differs
    return {"files": len(rows), "equal_files": len(rows) - len(wrong), "wrong": wrong}


def main() -> NoReturn:
    """Measure; exit 1 when a goal is missed."""
    from goals import Goal, finish, skip  # noqa: PLC0415  (a test imports `columns` from the root)

    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else MODELS
    pairs = find_pairs(folder)
    if not pairs:
        skip("edgetpu_preflight", f"no pairs of compiled models in {folder}: set SKERRY_REAL_MODELS")
    predicted, inspected = bench_preflight(pairs), bench_inspect(folder)
    equal, files = predicted["equal_pairs"], inspected["files"]
    peer = f"linear rule {equal['linear_rule']}, everything maps {equal['everything_maps']} pairs"
    goals = [Goal("pairs predicted operator by operator", equal["preflight"], len(pairs), "pairs", ">=", peer)]
    if files:
        goals.append(Goal("files whose every column is read as it is", inspected["equal_files"], files, "files", ">="))
    finish("edgetpu_preflight", goals, {"preflight": predicted, "inspect": inspected})


if __name__ == "__main__":
    main()
