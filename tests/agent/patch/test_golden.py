"""Patches made by an earlier encoder still make the same files: the format is what is written down."""

import hashlib
from pathlib import Path

import pytest

from skerry_agent.patch import apply, read_header
from skerry_agent.patch.container import CODECS

FOLDER = Path(__file__).parent / "golden"
PATCHES = sorted(FOLDER.glob("*.patch"))


@pytest.mark.parametrize("path", PATCHES, ids=lambda path: path.stem)
def test_golden_patch(path: Path) -> None:
    out = bytearray()
    own = path.with_suffix(".base")
    base = own if own.exists() else FOLDER / "base.bin"
    header = apply(base.read_bytes(), path.read_bytes(), out.extend, max_new_bytes=1 << 20)
    assert out == path.with_suffix(".bin").read_bytes()
    assert header.format_version == (2 if path.stem.endswith("_v2") else 1)
    assert header.new_sha256 == hashlib.sha256(out).hexdigest()


def test_golden_patches_cover_every_codec() -> None:
    assert {read_header(path.read_bytes()).codec for path in PATCHES} == set(CODECS)
