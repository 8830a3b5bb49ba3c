"""`skerry delta` by hand: create, apply, compare; mistakes are one line and exit 2."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from skerry_agent.wire.blobs import MAX_BLOB_BYTES
from skerry_host.cli.main import run
from tests.kit.patch_models import Net, layer, tflite, tuned


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    rng = np.random.default_rng(8)
    before = layer(rng, 30, 60)
    for name, made in (("old", before), ("new", tuned(rng, before, 0.5))):
        (tmp_path / name).write_bytes(tflite(Net((made,))))
    return tmp_path / "old", tmp_path / "new"


def test_create_and_apply(pair: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old, new = pair
    patch, out = tmp_path / "patch", tmp_path / "out"
    assert run(["delta", "create", str(old), str(new), "-o", str(patch), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["bytes"], said["full_bytes"]) == (patch.stat().st_size, new.stat().st_size)
    assert said["codec"] in {"model", "zstd", "bsdiff", "full"}
    assert said["seconds"] > 0
    assert run(["delta", "apply", str(old), str(patch), "-o", str(out)]) == 0
    assert out.read_bytes() == new.read_bytes()


def test_a_wrong_base_leaves_nothing_behind(
    pair: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old, new = pair
    patch, out = tmp_path / "patch", tmp_path / "out"
    assert run(["delta", "create", str(old), str(new), "-o", str(patch)]) == 0
    capsys.readouterr()
    assert run(["delta", "apply", str(new), str(patch), "-o", str(out)]) == 2
    assert capsys.readouterr().err.startswith("error: the base")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new", "old", "patch"]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda patch: b"", "not a Skerry patch"),
        (lambda patch: b"BSDIFF40" + patch, "not a Skerry patch"),
        (lambda patch: patch[:3] + b"\xff" + patch[4:], "upgrade the agent"),
        (lambda patch: patch[: len(patch) // 2], "patch is damaged"),
    ],
    ids=["empty", "foreign", "newer", "cut"],
)
def test_what_is_no_patch_is_one_line_and_leaves_nothing_behind(
    change: Callable[[bytes], bytes], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    golden = Path(__file__).parents[2] / "agent" / "patch" / "golden"
    patch = tmp_path / "patch"
    patch.write_bytes(change((golden / "tuned.patch").read_bytes()))
    assert run(["delta", "apply", str(golden / "base.bin"), str(patch), "-o", str(tmp_path / "out")]) in {1, 2}
    said = capsys.readouterr().err
    assert (says in said, len(said.splitlines())) == (True, 1)
    assert [path.name for path in tmp_path.iterdir()] == ["patch"]


def test_a_missing_file_is_the_users_mistake(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["delta", "create", str(tmp_path / "a"), str(tmp_path / "b"), "-o", str(tmp_path / "c")]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_a_file_that_no_device_accepts_is_refused_before_it_is_read(
    pair: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(MAX_BLOB_BYTES + 1)
    assert run(["delta", "create", str(pair[0]), str(tmp_path / "huge"), "-o", str(tmp_path / "patch")]) == 2
    said = capsys.readouterr().err
    assert len(said.splitlines()) == 1
    assert "268,435,457 bytes" in said
    assert "256 MiB" in said


def test_bench_reports_every_tool_or_names_it_absent(
    pair: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["delta", "bench", str(pair[0]), str(pair[1]), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    tools = {"skerry", "bsdiff4", "xdelta3", "zstd", "hdiffpatch", "detools", "xz_full"}
    assert set(said["tools"]) | set(said["absent"]) == tools
    assert said["tools"]["skerry"]["extra_bytes"] < 4_000_000
