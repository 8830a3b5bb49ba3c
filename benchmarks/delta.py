"""Patches of real version pairs beside generic delta tools, all in one run; or, with --growth, what they cost by size.

Every pair: bytes and percent of the full file; times smaller than the smallest generic tool (bsdiff4, xdelta3 -9, zstd
--patch-from -19, HDiffPatch with its best compressor, detools); distance to an empirical entropy limit; seconds to
create and apply per MB; apply time against bsdiff4's; extra memory while applying (see skerry_host/patch/measure.py).
`grid` pairs are the new model put on the old one's scale grid. Tools that are absent are named, not failed: install
bsdiff4, detools, hdiffpatch from PyPI and xdelta3, zstd from the system. Measures no training and no accuracy.

--growth: CPU and wall seconds, CPU seconds per MB, peak memory as a multiple of the file and the patch's size, from 0.3
to 64 MB (200 with --to 200), for the kinds of files in delta_growth.py. Memory is judged from 16 MB: below, what
compressors and numpy take whatever they are given is most of it.
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from delta_growth import KINDS, SIZES_MB, Cost, costs
from goals import Goal, finish, skip

from skerry_host.builder.modelfile.scale_grid import to_previous_grid
from skerry_host.patch.bench import bench

MODELS = Path(os.environ.get("SKERRY_REAL_MODELS", Path(__file__).parents[2] / "shared" / "models"))
POSENET = "edgetpu/posenet_mobilenet_v1_075_353_481_16_quant_decoder.tflite"
COCOMPILED = "mobilenet_v1_0.25_128_quant_cocompiled_with_mobilenet_v1_0.5_160_quant_edgetpu.tflite"
ABOVE_GENERIC_BYTES, APPLY_S_PER_MB, EXTRA_BYTES, TIMES_BSDIFF4, CREATE_S_PER_MB = 64, 0.15, 4_000_000, 3.0, 1.0
MEMORY_TIMES, MEMORY_FROM_MB = 12.0, 16.0


@dataclass(frozen=True)
class Pair:
    """Two releases, and what the patch must reach: percent of the full file, times smaller than generic."""

    old: str
    new: str
    percent: float | None = None
    times_smaller: float | None = None
    grid: bool = False


V1 = "delta/mnv2_v1.tflite"
PAIRS = {
    "mnv2_recal": Pair(V1, "delta/mnv2_recal.tflite", 0.35),
    "mnv2_ft1e-5": Pair(V1, "delta/mnv2_ft1e-5.tflite", 16.8),
    "mnv2_ft1e-5_grid": Pair(V1, "delta/mnv2_ft1e-5.tflite", 14.2, grid=True),
    "mnv2_ft1e-4": Pair(V1, "delta/mnv2_ft1e-4.tflite", 29.0, 2.35),
    "mnv2_ft1e-4_grid": Pair(V1, "delta/mnv2_ft1e-4.tflite", grid=True),
    "mnv2_ftsgd1e-3": Pair(V1, "delta/mnv2_ftsgd1e-3.tflite", 15.6),
    "mnv2_head": Pair(V1, "delta/mnv2_head.tflite", 1.1),
    "mnv2_prune": Pair(V1, "delta/mnv2_prune.tflite", 4.0),
    "mnv2_onnx_ft1e-4": Pair("delta/mnv2_v1.onnx", "delta/mnv2_ft1e-4.onnx", 32.0),
    "reconverted": Pair("edgetpu/mobilenet_v2_1.0_224_quant.tflite", "delta/mobilenet_v2_reconverted.tflite", 0.48),
    "posenet_to_bodypix": Pair(POSENET, "delta/bodypix.tflite", 1.55),
    "bird_to_insect": Pair("delta/bird.tflite", "delta/insect.tflite"),
    "edgetpu_other_compiler": Pair(
        "delta/mobilenet_v1_0.5_160_quant_edgetpu_older_compiler.tflite",
        "edgetpu/mobilenet_v1_0.5_160_quant_edgetpu.tflite",
    ),
    "edgetpu_cocompiled": Pair("edgetpu/mobilenet_v1_0.25_128_quant_edgetpu.tflite", f"edgetpu/{COCOMPILED}"),
}


def measured(pair: Pair, folder: Path) -> dict[str, Any]:
    """Every figure of one pair."""
    old, new = MODELS / pair.old, MODELS / pair.new
    if pair.grid:
        made = folder / "grid.tflite"
        made.write_bytes(to_previous_grid(new.read_bytes(), old.read_bytes()).model)
        new = made
    found = bench(old, new).as_json()
    own, megabytes = found["tools"]["skerry"], found["full_bytes"] / 1e6
    found["skerry"] = {
        "apply_s_per_mb": round(own["apply_seconds"] / megabytes, 4),
        "create_s_per_mb": round(own["create_seconds"] / megabytes, 3),
        "above_limit_percent": _above(own["bytes"], found["limit_bytes"]),
    }
    if "bsdiff4" in found["tools"]:
        found["skerry"]["times_bsdiff4_apply"] = round(
            own["apply_seconds"] / found["tools"]["bsdiff4"]["apply_seconds"], 2
        )
    return found


def _above(size: int, limit: int | None) -> float | None:
    return round(100 * (size / limit - 1), 2) if limit else None


def pair_goals(name: str, pair: Pair, found: dict[str, Any]) -> Iterator[Goal]:
    """Yield what the patch of one pair must reach."""
    own, skerry, best = found["tools"]["skerry"], found["skerry"], found["best_generic"]
    if pair.percent is not None:
        yield Goal(f"{name}: size", own["percent"], pair.percent, "% of the file")
    if best is not None:
        generic = found["tools"][best]["bytes"]
        peer = f"{best} {generic:,} bytes"
        yield Goal(f"{name}: size", own["bytes"], generic + ABOVE_GENERIC_BYTES, "bytes", peer=peer)
        if pair.times_smaller is not None:
            times = found["times_smaller_than_best_generic"]
            yield Goal(f"{name}: smaller than generic", times, pair.times_smaller, "times", ">=", peer)
    yield Goal(f"{name}: apply", skerry["apply_s_per_mb"], APPLY_S_PER_MB, "s/MB")
    yield Goal(f"{name}: create", skerry["create_s_per_mb"], CREATE_S_PER_MB, "s/MB")
    yield Goal(f"{name}: extra memory", own["extra_bytes"], EXTRA_BYTES, "bytes")
    if "times_bsdiff4_apply" in skerry:
        yield Goal(f"{name}: apply", skerry["times_bsdiff4_apply"], TIMES_BSDIFF4, "times bsdiff4's")


def growth_goals(name: str, megabytes: float, found: dict[str, Cost | str]) -> Iterator[Goal]:
    """Yield what the patch of one made pair of that size must reach."""
    own = found["skerry"]
    if isinstance(own, str):
        yield Goal(f"{name}: {own}", float("nan"), 0, "bytes")
        return
    peers = {tool: cost for tool, cost in found.items() if isinstance(cost, Cost) and tool != "skerry"}
    yield Goal(f"{name}: create", round(own.cpu_s / megabytes, 3), CREATE_S_PER_MB, "CPU s/MB", peer=_beside(peers))
    if megabytes >= MEMORY_FROM_MB:
        yield Goal(f"{name}: memory", round(own.memory_bytes / megabytes / 1e6, 1), MEMORY_TIMES, "times the file")
    if peers:
        best = min(peers, key=lambda tool: peers[tool].bytes)
        limit = peers[best].bytes + ABOVE_GENERIC_BYTES
        yield Goal(f"{name}: size", own.bytes, limit, "bytes", peer=f"{best} {peers[best].bytes:,} bytes")


def _beside(peers: dict[str, Cost]) -> str:
    return ", ".join(f"{tool} {cost.cpu_s:.1f} s" for tool, cost in peers.items())


def grow(most_mb: float, kinds: list[str]) -> None:
    """Measure files of every size up to `most_mb`."""
    goals: list[Goal] = []
    rows: dict[str, Any] = {}
    print("pair                    CPU s  wall s  CPU s/MB  memory x      bytes  peers (bytes)", file=sys.stderr)
    for megabytes in (size for size in SIZES_MB if size <= most_mb):
        for kind in kinds:
            name = f"{kind}_{megabytes:g}_mb"
            with tempfile.TemporaryDirectory(prefix="skerry-growth-") as folder:
                old, new = KINDS[kind](megabytes, Path(folder))
                size = new.stat().st_size / 1e6
                found = costs(old, new, Path(folder))
            print(_line(name, size, found), file=sys.stderr)
            rows[name] = {
                tool: cost if isinstance(cost, str) else {**asdict(cost), "memory_times": _times(cost, size)}
                for tool, cost in found.items()
            }
            goals += growth_goals(name, size, found)
    finish("delta_growth", goals, {"pairs": rows})


def _times(cost: Cost, megabytes: float) -> float:
    return round(cost.memory_bytes / megabytes / 1e6, 1)


def _line(name: str, megabytes: float, found: dict[str, Cost | str]) -> str:
    own = found["skerry"]
    peers = ", ".join(
        f"{tool} {cost if isinstance(cost, str) else format(cost.bytes, ',')}"
        for tool, cost in found.items()
        if tool != "skerry"
    )
    if isinstance(own, str):
        return f"{name:22} {own}  {peers}"
    rate, memory = own.cpu_s / megabytes, _times(own, megabytes)
    return f"{name:22} {own.cpu_s:6.1f}  {own.wall_s:6.1f}  {rate:8.2f}  {memory:8.1f} {own.bytes:10,}  {peers}"


def compare(chosen: list[str]) -> None:
    """Measure real pairs."""
    if not MODELS.is_dir():
        skip("delta", f"real models are absent: {MODELS}; set SKERRY_REAL_MODELS")
    goals: list[Goal] = []
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="skerry-delta-") as folder:
        for name in chosen:
            print(f"measuring {name}", file=sys.stderr)
            results[name] = measured(PAIRS[name], Path(folder))
            goals += pair_goals(name, PAIRS[name], results[name])
    finish("delta", goals, {"pairs": results})


def main() -> None:
    """Measure all pairs, those named on the command line, or how costs grow."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pairs", nargs="*", choices=[[], *PAIRS], default=[])
    parser.add_argument("--growth", action="store_true", help="files of growing size instead of real pairs")
    parser.add_argument("--to", type=float, default=64, metavar="MB", help="the largest of them [64]")
    parser.add_argument("--kind", action="append", choices=list(KINDS), help="only files of that kind")
    options = parser.parse_args()
    if options.growth:
        grow(options.to, options.kind or list(KINDS))
    compare(options.pairs or list(PAIRS))


if __name__ == "__main__":
    main()
