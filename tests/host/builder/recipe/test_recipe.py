import re
from pathlib import Path

import pytest

from skerry_host.builder.recipe.errors import RecipeError
from skerry_host.builder.recipe.recipe import load_recipe, versions
from tests.kit.recipes import FASHION


def test_the_newest_version_is_taken_unless_one_is_named(make_recipe):
    folder = make_recipe()
    assert load_recipe(folder).version == "1.1.0"
    loaded = load_recipe(folder / "recipe.toml", "1.0.0")
    assert (loaded.version, loaded.source.name) == ("1.0.0", "fashion-1.0.0.tflite")


def test_versions_are_ordered_by_number_and_prereleases_come_first(tmp_path: Path):
    for version in ("1.10.0", "1.9.0", "2.0.0-rc1", "2.0.0", "next"):
        (tmp_path / f"m-{version}.tflite").touch()
    assert versions(tmp_path, "m-{version}.tflite") == ["1.9.0", "1.10.0", "2.0.0-rc1", "2.0.0"]


NAMES = re.search(r"names = \[.*?\]\n", (FASHION / "recipe.toml").read_text("utf-8"), re.DOTALL)[0]
LABEL_FILE = [(NAMES, 'file = "classes.txt"\n')]
CASES = {
    "several at once": (
        [
            ("min_sqnr_db = 15.0", 'min_sqnr_db = "high"'),
            ('task = "classification"', ""),
            ("samples = 16", "samples = 1"),
        ],
        {},
        ["task: missing", "budget.min_sqnr_db", "golden.samples"],
    ),
    "misspelt key": ([("max_bytes", "max_byts")], {}, ["budget.max_byts: unknown key; did you mean max_bytes?"]),
    "a key of a section at the top": (
        [("schema = 1", "schema = 1\nper_channel = true")],
        {},
        ["per_channel: unknown key; it belongs into [quantize]"],
    ),
    "unknown quantization": (
        [('io = "int8"', 'io = "int4"')],
        {},
        ["quantize.io: 'int4' is none of int8, uint8, int16, float; did you mean int8?"],
    ),
    "a misspelt task": (
        [('task = "classification"', 'task = "clasification"')],
        {},
        ["task: 'clasification' is none of classification, multilabel", "did you mean classification?"],
    ),
    "mistakes and missing files in one round": (
        [('io = "int8"', 'io = "int4"'), ('"calibration.npz"', '"calibratoin.npz"')],
        {"evaluation.npz": None},
        [
            "quantize.io",
            "calibratoin.npz: file not found; did you mean calibration.npz?",
            "evaluation.npz: file not found",
        ],
    ),
    "missing data": (
        [],
        {"calibration.npz": None, "evaluation.npz": None},
        ["calibration.npz: file not found", "evaluation.npz"],
    ),
    "missing source": ([("fashion-{version}", "other-{version}")], {}, ["no file matches other-{version}.tflite"]),
    "outside of the folder": ([('"calibration.npz"', '"../calibration.npz"')], {}, ["must stay inside"]),
    "not TOML": ([("schema = 1", "schema = = 1")], {}, ["not TOML"]),
    "no finite number": (
        [("scale = 0.00392156862745098", "scale = nan\nmean = [inf]"), ("min_sqnr_db = 15.0", "min_sqnr_db = nan")],
        {},
        [
            "preprocess.scale: must be finite",
            "preprocess.mean[0]: must be finite",
            "budget.min_sqnr_db: must be finite",
        ],
    ),
    "endless by size": ([("latency_p95_us = 8000", "latency_p95_us = inf")], {}, ["latency_p95_us: must be finite"]),
    "uneven grids": (
        [("[labels]", "[postprocess]\nstrides = [8, 16]\nper_cell = [2]\n[labels]")],
        {},
        ["postprocess: 2 strides, but 1 per_cell"],
    ),
    "a label of two lines": (
        [('"Trouser"', '"Trouser\\n<b>"')],
        {},
        ["labels.names[1]: 'Trouser\\n<b>' is not one line of text"],
    ),
    "a label that is a terminal's order": (
        [('"Trouser"', '"Trouser\\u001b[2J"')],
        {},
        ["labels.names[1]: 'Trouser\\x1b[2J' is not one line of text"],
    ),
    "an empty label": ([('"Trouser"', '" "')], {}, ["labels.names[1]: is empty"]),
    "labels twice": ([("[labels]", '[labels]\nfile = "classes.txt"')], {"classes.txt": b"a"}, ["names or file"]),
    "no file of labels": (LABEL_FILE, {}, ["classes.txt: file not found"]),
    "labels that are no text": (LABEL_FILE, {"classes.txt": b"\xff\xfe"}, ["classes.txt: is not a text file in UTF-8"]),
    "a blank line of labels": (LABEL_FILE, {"classes.txt": b"a\n\nb\n"}, ["classes.txt[1]: is empty"]),
    "a hostile file of labels": (LABEL_FILE, {"classes.txt": b"a\n\x1b]0;x\x07\n"}, ["classes.txt[1]:"]),
    "later schema": ([("schema = 1", "schema = 2")], {}, ["schema"]),
}


@pytest.mark.parametrize("case", CASES)
def test_a_wrong_recipe_is_refused_with_every_issue(make_recipe, case: str):
    edits, files, expected = CASES[case]
    folder = make_recipe(*edits, files=files)
    with pytest.raises(RecipeError) as refused:
        load_recipe(folder)
    assert refused.value.exit_code == 2
    assert "\n" not in str(refused.value)
    for part in expected:
        assert part in str(refused.value)


def test_a_folder_in_a_files_place_is_said_to_be_one(make_recipe):
    folder = make_recipe(*LABEL_FILE)
    (folder / "classes.txt").mkdir()
    with pytest.raises(RecipeError, match=r"classes\.txt: is a folder, not a file"):
        load_recipe(folder)


DATA_KEYS = {
    "neither": ("", "data: give calibration and evaluation, or folder"),
    "only one": ('calibration = "calibration.npz"', "data.evaluation: is missing"),
    "a folder that is not there": ('folder = "/nowhere/at/all"', "data.folder: /nowhere/at/all does not exist"),
    "a variable that is not set": ('folder = "$NOT_SET_HERE/x"', "data.folder: $NOT_SET_HERE/x is not set"),
    "out of the folder": (
        'folder = "."\ncalibration = "../x"\nevaluation = "evaluation.npz"',
        "../x: must stay inside the recipe's folder",
    ),
    "another format": ('folder = "."\nformat = "zip"', "data.format"),
}


@pytest.mark.parametrize("case", DATA_KEYS)
def test_where_the_data_are(make_recipe, case):
    lines, expected = DATA_KEYS[case]
    both = 'calibration = "calibration.npz"\nevaluation = "evaluation.npz"'
    with pytest.raises(RecipeError) as refused:
        load_recipe(make_recipe((both, lines)))
    assert expected in str(refused.value)


def test_data_may_be_elsewhere_and_one_set_is_both_places(make_recipe, tmp_path, monkeypatch):
    monkeypatch.setenv("PHOTOS", str(tmp_path))
    both = 'calibration = "calibration.npz"\nevaluation = "evaluation.npz"'
    one = load_recipe(make_recipe((both, 'folder = "$PHOTOS"')))
    assert (one.calibration, one.evaluation) == (tmp_path, tmp_path)
    (tmp_path / "train").mkdir()
    (tmp_path / "val").mkdir()
    two = load_recipe(make_recipe((both, 'folder = "$PHOTOS"\ncalibration = "train"\nevaluation = "val"')))
    assert (two.calibration.name, two.evaluation.name) == ("train", "val")


def test_a_version_that_is_none_is_refused(recipe: Path):
    with pytest.raises(RecipeError, match=r"'\.\./1' is not MAJOR"):
        load_recipe(recipe, "../1")


def test_a_folder_without_a_recipe(tmp_path: Path):
    with pytest.raises(RecipeError, match=r"name a folder with a recipe\.toml"):
        load_recipe(tmp_path)


def test_labels_may_stand_in_a_file_of_their_own(make_recipe):
    folder = make_recipe(*LABEL_FILE, files={"classes.txt": "\ufeffÄpfel\r\nPears and plums\r\n".encode()})
    assert load_recipe(folder).recipe.labels.names == ("Äpfel", "Pears and plums")


@pytest.mark.parametrize(
    "name", ["x" * 250, "a/" * 120 + "b", "/{version}.tflite", "**x{version}.tflite", "\\u0000{version}"]
)
def test_names_that_no_disk_has_are_refused_in_one_line(make_recipe, name):
    recipe = make_recipe(('file = "fashion-{version}.tflite"', f'file = "{name}"'))
    with pytest.raises(RecipeError) as refused:
        load_recipe(recipe)
    assert "\n" not in str(refused.value)


def test_a_byte_order_mark_is_taken(make_recipe):
    """Windows editors write one: 'Invalid statement (at line 1, column 1)' was all that was said."""
    folder = make_recipe()
    text = (folder / "recipe.toml").read_bytes()
    (folder / "recipe.toml").write_bytes(b"\xef\xbb\xbf" + text)
    assert load_recipe(folder).recipe.name == "fashion"


def test_spaces_are_symbols_of_an_alphabet_and_names_of_no_class(make_recipe):
    alphabet = {"classes.txt": "a\n\u3000\n \n".encode()}
    read = make_recipe(*LABEL_FILE, ('task = "classification"', 'task = "sequence"'), files=alphabet)
    assert load_recipe(read).recipe.labels.names == ("a", "\u3000", " ")
    hostile = make_recipe(
        *LABEL_FILE,
        ('task = "classification"', 'task = "sequence"'),
        files={"classes.txt": "a\n\u2028\n\n\t\n".encode()},
    )
    with pytest.raises(RecipeError, match=r"\[1\].*\[2\].*\[3\]"):
        load_recipe(hostile)
