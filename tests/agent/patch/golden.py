"""`python -m tests.agent.patch.golden`: writes the golden files that are missing; one that is there never changes.

Each NAME.patch turns base.bin into NAME.bin. They pin the format: a decoder that refuses one, or makes another file of
it, breaks devices in the field.
"""

from pathlib import Path

import numpy as np

from skerry_agent.patch import Codec
from skerry_host.patch.blocks import encode_full, encode_zstd
from skerry_host.patch.create import header_of
from skerry_host.patch.programs import encode_programs
from tests.kit.patch_edits import more_classes, on_grid, prune, transpose, tune
from tests.kit.patch_models import Net, layer, tflite

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


def main() -> None:
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


if __name__ == "__main__":
    main()
