"""Patches of real version pairs beside generic delta tools, all in one run. Prints JSON.

Every pair: bytes and percent of the full file; times smaller than the smallest generic tool (bsdiff4, xdelta3 -9, zstd
--patch-from -19, HDiffPatch with its best compressor, detools); distance to an empirical entropy limit; seconds to
create and apply per MB; apply time against bsdiff4's; extra memory while applying (see skerry_host/patch/measure.py).
`grid` pairs are the new model put on the old one's scale grid. `missed` lists goals that were not reached. Tools that
are absent are named, not failed: install bsdiff4, detools, hdiffpatch from PyPI and xdelta3, zstd from the system.
Measures no training and no accuracy.
"""

import argparse
import json
import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from skerry_host.builder.modelfile.scale_grid import to_previous_grid
from skerry_host.patch.bench import bench

MODELS = Path(os.environ.get("SKERRY_REAL_MODELS", Path(__file__).parents[2] / "shared" / "models"))
POSENET = "edgetpu/posenet_mobilenet_v1_075_353_481_16_quant_decoder.tflite"
COCOMPILED = "mobilenet_v1_0.25_128_quant_cocompiled_with_mobilenet_v1_0.5_160_quant_edgetpu.tflite"
ABOVE_GENERIC_BYTES, APPLY_S_PER_MB, EXTRA_BYTES, TIMES_BSDIFF4, CREATE_S_PER_MB = 64, 0.15, 4_000_000, 3.0, 1.0


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
    return {**found, "missed": list(_missed(pair, found, own))}


def _above(size: int, limit: int | None) -> float | None:
    return round(100 * (size / limit - 1), 2) if limit else None


def _missed(pair: Pair, found: dict[str, Any], own: dict[str, Any]) -> list[str]:
    best, skerry = found["best_generic"], found["skerry"]
    checks = {
        f"{own['percent']} % > {pair.percent} %": pair.percent is not None and own["percent"] > pair.percent,
        f"{found['times_smaller_than_best_generic']}x < {pair.times_smaller}x": pair.times_smaller is not None
        and (found["times_smaller_than_best_generic"] or 99) < pair.times_smaller,
        "larger than the smallest generic patch": best is not None
        and own["bytes"] > found["tools"][best]["bytes"] + ABOVE_GENERIC_BYTES,
        f"apply {skerry['apply_s_per_mb']} s/MB": skerry["apply_s_per_mb"] > APPLY_S_PER_MB,
        f"create {skerry['create_s_per_mb']} s/MB": skerry["create_s_per_mb"] > CREATE_S_PER_MB,
        f"extra memory {own['extra_bytes']}": own["extra_bytes"] > EXTRA_BYTES,
        f"apply {skerry.get('times_bsdiff4_apply')} times bsdiff4's": skerry.get("times_bsdiff4_apply", 0)
        > TIMES_BSDIFF4,
    }
    return [name for name, missed in checks.items() if missed]


def main() -> None:
    """Measure all pairs, or those named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pairs", nargs="*", choices=[[], *PAIRS], default=[])
    chosen = parser.parse_args().pairs or list(PAIRS)
    if not MODELS.is_dir():
        print(json.dumps({"skipped": f"real models are absent: {MODELS}; set SKERRY_REAL_MODELS"}))
        return
    with tempfile.TemporaryDirectory(prefix="skerry-delta-") as folder:
        results = {}
        for name in chosen:
            print(f"measuring {name}", file=sys.stderr)
            results[name] = measured(PAIRS[name], Path(folder))
    missed = {name: result["missed"] for name, result in results.items() if result["missed"]}
    print(json.dumps({"pairs": results, "missed": missed}, indent=2))


if __name__ == "__main__":
    main()
