"""Where a build may be written: what is in the way is said before any work, and nobody else's file is lost."""

import json
from pathlib import Path

import pytest

from skerry_host.builder.output import check_output, write_folder
from skerry_host.builder.recipe.errors import OutputError
from skerry_host.cli.main import run

RECORD = json.dumps({"bundles": [{"artifacts": [{"name": "model.tflite"}]}]}).encode()
MADE = {"build.json": RECORD, "report.html": b"", "model.tflite": b"", "edgetpu_compiler.log": b""}


def test_a_build_is_replaced_whole(tmp_path: Path):
    write_folder(tmp_path / "b", MADE)
    write_folder(tmp_path / "b", {"build.json": RECORD})
    assert [path.name for path in (tmp_path / "b").iterdir()] == ["build.json"]


def test_a_file_that_no_build_made_is_not_deleted(tmp_path: Path):
    write_folder(tmp_path / "b", MADE)
    (tmp_path / "b" / "mine.txt").write_text("notes")
    with pytest.raises(OutputError, match=r"b holds files that are not from a build: mine\.txt; move it away"):
        write_folder(tmp_path / "b", MADE)
    assert (tmp_path / "b" / "mine.txt").read_text() == "notes"


@pytest.mark.parametrize("content", [b"", b"{}", b"[]"])
def test_a_build_json_of_something_else_is_no_build(tmp_path: Path, content: bytes):
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "build.json").write_bytes(content)
    with pytest.raises(OutputError, match="is not a build"):
        check_output(tmp_path / "b")


def test_a_file_in_the_way_is_found_first(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"file is not a folder; choose another --out"):
        check_output(tmp_path / "file" / "x" / "y")
    check_output(tmp_path / "not" / "yet" / "there")


@pytest.mark.parametrize(("place", "words"), [("no/x.html", "its folder does not exist"), (".", "it is a folder")])
def test_a_reports_place_is_looked_at_before_anything_is_read(tmp_path: Path, capsys, place: str, words: str):
    command = ["model", "build", str(tmp_path / "no recipe"), "--board", "generic-x86"]
    assert run([*command, "--report", str(tmp_path / place)]) == 2
    assert f"{words}; choose another --report" in capsys.readouterr().err
