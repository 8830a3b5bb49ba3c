"""Damaged data of every format: named or refused, never anything else. Longer runs: tests/fuzz/data.py."""

import contextlib
import random

import numpy as np
import pytest

from skerry_host.builder.data.choose import Selection, balanced, sha256_of, split, usable
from skerry_host.builder.data.readers.base import UnusableDataError, Wanted
from skerry_host.builder.data.readers.formats import READERS, format_of, parts_of
from skerry_host.builder.recipe.progress import silent
from tests.kit.datasets import coco, image, plan, png, sound

ROUNDS = 40
BYTES = b"0123456789.,;-+eE\"'[]{}:\n\x00\xff nainf"


def boxes_of_coco(root):
    for at in range(3):
        image(root / "images" / f"{at}.png", at)
    boxes = [{"image_id": at, "category_id": 1, "bbox": [0, 0, 4, 4], "keypoints": [1, 1, 1]} for at in range(3)]
    coco(root / "x.json", [(at, f"{at}.png", 8, 8) for at in range(3)], boxes)


def boxes_of_yolo(root):
    for at in range(3):
        image(root / "images" / f"{at}.jpg", at)
        (root / "labels").mkdir(exist_ok=True)
        (root / "labels" / f"{at}.txt").write_text("0 .5 .5 .1 .1\n1 .1 .1 .3 .1 .3 .4\n", "utf-8")
    (root / "data.yaml").write_text("train: images\nval: [images]\nnames:\n  0: a\n  1: 'b'\n", "utf-8")


def masks(root):
    for at in range(3):
        image(root / "images" / f"{at}.jpg", at)
        (root / "masks").mkdir(exist_ok=True)
        (root / "masks" / f"{at}.png").write_bytes(png(np.full((8, 8), at, np.uint8)))


def sounds(root):
    for at in range(3):
        sound(root / "a" / f"{at}.wav", np.sin(np.arange(50)))
    (root / "a.csv").write_text("file,label\na/0.wav,x\na/1.wav,y\n", "utf-8")


def table(root):
    root.mkdir()
    (root / "t.csv").write_text('a;b;label\n1,5;2;x\n3;4;y\n5;;z\n"1";2;x\n', "utf-8")


MAKERS = {
    boxes_of_coco: ("detection", "keypoints"),
    boxes_of_yolo: ("detection", "raw"),
    masks: ("segmentation", "raw"),
    sounds: ("classification", "multilabel", "sequence"),
    table: ("classification", "regression", "multilabel"),
}


@pytest.mark.parametrize("make", MAKERS, ids=lambda make: make.__name__)
def test_damaged_data_are_named_or_refused(tmp_path, make):
    make(tmp_path / "data")
    chance = random.Random(make.__name__)
    files = sorted(path for path in (tmp_path / "data").rglob("*") if path.is_file())
    for _round in range(ROUNDS):
        path = chance.choice(files)
        before = path.read_bytes()
        path.write_bytes(damaged(before, chance))
        with contextlib.suppress(UnusableDataError, OSError):
            use(tmp_path / "data", chance.choice(MAKERS[make]))
        path.write_bytes(before)


def damaged(raw: bytes, chance: random.Random) -> bytes:
    """One to four changes: a byte, a gap, an insertion, an end, a number at its limit."""
    made = bytearray(raw)
    for _change in range(chance.randint(1, 4)):
        at = chance.randrange(len(made) + 1)
        made[at : at + chance.choice((0, 1, 1, 4, 20))] = chance.choice(
            (bytes(chance.choices(BYTES, k=chance.randint(0, 10))), b"\xff\xff\xff\xff", b"\0\0\0\0", b"")
        )
        if chance.random() < 0.2:
            del made[at:]
    return bytes(made)


def use(place, task: str) -> None:
    """All that a build does with data before it runs a model."""
    kind = format_of(place)
    if kind not in READERS:
        return
    parts_of(place, kind)
    found = READERS[kind](place, Wanted(task, (), plan(), ((1, 50),)))
    split(found, 0.3)
    good = usable(found, balanced(found, range(len(found))), Selection("all"), silent)
    found.inputs.remarks()
    sha256_of(found, good.places)


def test_a_class_of_a_yaml_with_a_huge_number_takes_no_memory(tmp_path):
    """names: {0: cat, 999999999: dog} made a thousand million names."""
    image(tmp_path / "images" / "a.png")
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "a.txt").write_text("0 .5 .5 .2 .2", "utf-8")
    (tmp_path / "data.yaml").write_text("train: images\nnames:\n  0: cat\n  999999999999: dog\n", "utf-8")
    with pytest.raises(UnusableDataError, match="names has a class 999999999999: they are counted from 0"):
        READERS["yolo"](tmp_path, Wanted("detection"))


@pytest.mark.parametrize(
    ("task", "lines", "words"),
    [
        ("multilabel", "a,cat\n1,1\n2,256\n", "holds '256' for what is right, not 0 or 1"),
        ("multilabel", "a,cat\n1,0\n2,0.5\n", "holds '0.5' for what is right, not 0 or 1"),
        ("regression", "a,y\n1,2\n3,1e999\n", "holds '1e999' for what is right, not a number"),
    ],
)
def test_labels_of_a_table_that_cannot_be_right_are_named(tmp_path, task, lines, words):
    (tmp_path / "x.csv").write_text(lines, "utf-8")
    found = READERS["csv"](tmp_path, Wanted(task, plan=plan(label=(lines[2 : lines.index("\n")],))))
    assert len(found) == 1
    assert [one.partition(": ")[2] for one in found.damaged] == [words]


def test_a_table_of_one_column_has_nothing_for_a_model(tmp_path):
    (tmp_path / "x.csv").write_text("label\nyes\nno\n", "utf-8")
    with pytest.raises(UnusableDataError, match="has no column beside label"):
        READERS["csv"](tmp_path, Wanted("classification"))


def test_a_label_of_5000_digits_is_a_name(tmp_path):
    (tmp_path / "x.csv").write_text(f"a,label\n1,yes\n2,{'9' * 5000}\n", "utf-8")
    assert READERS["csv"](tmp_path, Wanted("classification")).names == ("9" * 5000, "yes")
