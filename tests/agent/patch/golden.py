"""`python -m tests.agent.patch.golden`: writes the golden files anew, for a new format version only.

Each NAME.patch turns base.bin into NAME.bin. They pin the format: a decoder that refuses one, or makes another file of
it, breaks devices in the field.
"""

from pathlib import Path

import numpy as np

from skerry_agent.patch import Codec
from skerry_host.patch.blocks import encode_full, encode_zstd
from skerry_host.patch.create import _header
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
}


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    before = [layer(np.random.default_rng(21), 24, 32), layer(np.random.default_rng(22), 10, 24)]
    old = tflite(Net(tuple(before)))
    (FOLDER / "base.bin").write_bytes(old)
    for name, (edit, codec) in CASES.items():
        new = tflite(Net(tuple(edit(np.random.default_rng(23), before)), note=b"next"))  # type: ignore[operator]
        payloads = {key: attempt.payload for key, attempt in encode_programs(old, new).items()}
        payloads |= {"full": encode_full(new, hurried=False), "zstd": encode_zstd(old, new, hurried=False)}
        (FOLDER / f"{name}.bin").write_bytes(new)
        (FOLDER / f"{name}.patch").write_bytes(_header(codec, old, new) + payloads[codec])


if __name__ == "__main__":
    main()
