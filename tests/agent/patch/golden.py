"""`python -m tests.agent.patch.golden`: writes the golden files that are missing; one that is there never changes.

Each NAME.patch turns NAME.base, or else base.bin, into NAME.bin. They pin the format: a decoder that refuses one, or
makes another file of
it, breaks devices in the field.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from skerry_agent.patch import Codec
from skerry_host.patch.blocks import encode_full, encode_zstd
from skerry_host.patch.create import header_of
from skerry_host.patch.programs import encode_programs
from tests.kit.patch_edits import more_classes, on_grid, prune, transpose, tune
from tests.kit.patch_models import Net, float_tflite, layer, tflite

FOLDER = Path(__file__).parent / "golden"
CASES: dict[str, tuple[object, Codec]] = {
    "full": (tune, "full"),
    "zstd": (tune, "zstd"),
    "bsdiff": (more_classes, "bsdiff"),
    "tuned": (tune, "model"),
    "pruned": (prune, "model"),
    "transposed": (transpose, "model"),
    "grid": (on_grid, "model"),
    "bsdiff_v2": (more_classes, "bsdiff"),
    "tuned_v2": (tune, "model"),
}


FLOATS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "floats_v2": lambda grid: (
        grid * np.linspace(0.98, 1.02, len(grid))[:, None] + 0.01 * np.sin(np.arange(grid.size)).reshape(grid.shape)
    ),
    "floats_pruned_v2": lambda grid: np.where(np.abs(grid) < 0.1, 0, grid + 0.3),
}


def main() -> None:
    _floats()
    before = [layer(np.random.default_rng(21), 24, 32), layer(np.random.default_rng(22), 10, 24)]
    old = tflite(Net(tuple(before)))
    assert old == (FOLDER / "base.bin").read_bytes()
    for name, (edit, codec) in CASES.items():
        if (FOLDER / f"{name}.patch").exists():
            continue
        version = 2 if name.endswith("_v2") else 1
        new = tflite(Net(tuple(edit(np.random.default_rng(23), before)), note=b"next"))  # type: ignore[operator]
        programs = encode_programs(old, new).items()
        payloads = {key: attempt.payload if version == 1 else attempt.lean for key, attempt in programs}
        payloads |= {"full": encode_full(new, hurried=False), "zstd": encode_zstd(old, new, hurried=False)}
        (FOLDER / f"{name}.bin").write_bytes(new)
        (FOLDER / f"{name}.patch").write_bytes(header_of(codec, old, new, version) + payloads[codec])


def _floats() -> None:
    """Floats of three formats, from a base of their own."""
    rng = np.random.default_rng(24)
    before = [rng.normal(0, 0.3, (20, 24)), rng.normal(0, 1, (30, 10)), rng.normal(0, 2, (16, 16))]
    old = float_tflite(_stored(before))
    for name, edit in FLOATS.items():
        if (FOLDER / f"{name}.patch").exists():
            continue
        new = float_tflite(_stored([edit(grid) for grid in before]))
        (FOLDER / f"{name}.base").write_bytes(old)
        (FOLDER / f"{name}.bin").write_bytes(new)
        attempt = encode_programs(old, new)["typed"]
        (FOLDER / f"{name}.patch").write_bytes(header_of("typed", old, new, 2) + attempt.lean)


def _stored(grids: list[np.ndarray]) -> list[np.ndarray]:
    single, half, brain = grids
    return [
        single.astype(np.float32),
        half.astype(np.float16),
        (brain.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16),
    ]


if __name__ == "__main__":
    main()
