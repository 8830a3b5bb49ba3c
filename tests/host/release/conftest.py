"""A made-up build (small random files with a true build.json), a store and keys: releases need no real model."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from skerry_agent.wire import blobs, codec
from skerry_agent.wire.manifest import Artifact, Bundle, Provenance, Quality, TensorSpec
from skerry_host.build_record import BuildRecord, Check
from skerry_host.release.keys import KeyRing, load_or_create
from skerry_host.release.store import Store

MakeBuild = Callable[..., Path]


def contents(seed: int) -> dict[str, bytes]:
    """Files that look alike from one seed to the next, as those of two releases do."""
    model = np.random.default_rng(0).integers(0, 256, 100_000, dtype=np.uint8)
    model[seed * 500 : seed * 500 + 300] = seed
    return {"model.tflite": model.tobytes(), "golden.npz": bytes([seed]) * 2000, "labels.txt": b"a\nb\n"}


@pytest.fixture
def make_build(tmp_path: Path) -> MakeBuild:
    def make(version: str | None = "1.0.0", seed: int = 1, model: str = "toy", golden: bytes = b"") -> Path:
        folder = tmp_path / f"build-{model}-{version}-{seed}"
        folder.mkdir()
        files = contents(seed) | ({"golden.npz": golden} if golden else {})
        for name, data in files.items():
            (folder / name).write_bytes(data)
        roles = {"model.tflite": "model", "golden.npz": "golden", "labels.txt": "labels"}
        artifacts = tuple(Artifact(name, roles[name], blobs.describe(data)) for name, data in files.items())
        spec = TensorSpec("x", "int8", (1, 4), 0.1, 3)
        record = BuildRecord(
            schema=1,
            model=model,
            board="generic-x86",
            bundles=(Bundle("cpu", artifacts, (spec,), (spec,)),),
            quality=Quality("top1", 10, 0.9, 0.9, (0.8, 1.0), (0.8, 1.0), {"x": 30.0}, 400_000, 100_000),
            provenance=Provenance(
                f"{seed:x}".ljust(64, "0"), "b" * 64, {"python": "3.11"}, "2026-01-01T00:00:00+00:00"
            ),
            checks=(Check("size", "1 B", "none", True),),
            version=version,
        )
        (folder / "build.json").write_bytes(codec.encode(record))
        return folder

    return make


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def keys(tmp_path: Path) -> KeyRing:
    return load_or_create(tmp_path / "keys")
