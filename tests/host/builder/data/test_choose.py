"""Which samples are used: two sets without overlap, every class in both, and damaged ones named up to a limit."""

import shutil
from collections import Counter

import pytest

from skerry_host.builder.data.choose import Selection, balanced, sha256_of, split, usable
from skerry_host.builder.data.readers.base import UnusableDataError, Wanted
from skerry_host.builder.data.readers.folder import read
from skerry_host.builder.recipe.progress import silent
from tests.kit.datasets import class_folders, image, plan


def found_in(root):
    return read(root, Wanted("classification", (), plan()))


def names(found, places):
    return [found.keys[at] for at in places]


def test_every_class_is_in_both_parts_in_its_share(tmp_path):
    found = found_in(class_folders(tmp_path, {"a": 20, "b": 10, "c": 2}))
    calibration, evaluation = split(found, 0.3)
    assert Counter(found.truth[at] for at in calibration) == {0: 6, 1: 3, 2: 1}
    assert Counter(found.truth[at] for at in evaluation) == {0: 14, 1: 7, 2: 1}


def test_the_same_files_are_split_the_same_way_wherever_they_lie(tmp_path):
    one = class_folders(tmp_path / "one", {"a": 20, "b": 10})
    two = shutil.copytree(one, tmp_path / "elsewhere" / "two")
    assert split(found_in(one), 0.3) == split(found_in(two), 0.3)


def test_copies_of_an_image_are_in_one_part_only(tmp_path):
    root = class_folders(tmp_path, {"a": 10, "b": 10})
    for name in ("a", "b"):
        for path in sorted((root / name).iterdir()):
            shutil.copy(path, path.with_name(f"copy of {path.name}"))
            shutil.copy(path, root / ("b" if name == "a" else "a") / f"wrong class {name} {path.name}")
    found = found_in(root)
    calibration, evaluation = split(found, 0.4)
    content = [path.read_bytes() for (path,) in found.files]
    assert not {content[at] for at in calibration} & {content[at] for at in evaluation}
    assert calibration
    assert evaluation


def test_a_class_of_one_sample_is_evaluated(tmp_path):
    found = found_in(class_folders(tmp_path, {"a": 5, "rare": 1}))
    assert "rare/000.png" in names(found, split(found, 0.3)[1])


def test_few_samples_of_many_have_every_class_as_often(tmp_path):
    found = found_in(class_folders(tmp_path, {"a": 40, "b": 4, "c": 20}))
    first = balanced(found, range(len(found)))[:9]
    assert Counter(found.truth[at] for at in first) == {0: 3, 1: 3, 2: 3}
    assert sorted(balanced(found, range(len(found)))) == list(range(64))


def test_damaged_files_are_left_out_and_named(tmp_path):
    root = class_folders(tmp_path, {"a": 10, "b": 10})
    (root / "a" / "003.png").write_bytes(b"?")
    (root / "b" / "001.png").write_bytes((root / "b" / "001.png").read_bytes()[:-30])
    found = found_in(root)
    good = usable(found, balanced(found, range(20)), Selection("evaluation"), silent)
    assert len(good.places) == 18
    assert sorted(good.damaged) == ["a/003.png: is no image", "b/001.png: image file is truncated"]


def test_too_many_damaged_files_are_refused_and_the_first_named(tmp_path):
    root = class_folders(tmp_path, {"a": 20, "b": 20})
    for path in sorted((root / "a").iterdir())[3:14]:
        path.write_bytes(b"?")
    found = found_in(root)
    with pytest.raises(UnusableDataError, match=r"more than 10 samples cannot be used, the first are: a/0"):
        usable(found, list(range(40)), Selection("evaluation"), silent)


def test_only_as_many_as_are_asked_for_are_read(tmp_path):
    root = class_folders(tmp_path, {"a": 30})
    for path in sorted((root / "a").iterdir())[5:]:
        path.write_bytes(b"?")
    assert usable(found_in(root), list(range(30)), Selection("calibration", 5), silent).places == [0, 1, 2, 3, 4]


def test_the_hash_follows_content_and_names_not_the_place(tmp_path):
    one = class_folders(tmp_path / "one", {"a": 4})
    two = shutil.copytree(one, tmp_path / "two")
    before = sha256_of(found_in(one), range(4))
    assert before == sha256_of(found_in(two), range(4))
    image(two / "a" / "000.png", 99)
    assert before != sha256_of(found_in(two), range(4))
