"""Images in folders by class: their order is written down, never guessed in silence."""

import pytest

from skerry_host.builder.data.readers.base import UnusableDataError, Wanted
from skerry_host.builder.data.readers.folder import read
from tests.kit.datasets import class_folders, image, plan


def wanted(task="classification", names=()):
    return Wanted(task, tuple(names), plan())


def test_classes_are_folders_in_the_order_of_their_names(tmp_path):
    found = read(class_folders(tmp_path, {"dog": 2, "Cat": 1, "ant": 1}), wanted())
    assert found.names == ("Cat", "ant", "dog")
    assert list(found.truth) == [0, 1, 2, 2]
    assert list(found.keys) == ["Cat/000.png", "ant/000.png", "dog/000.png", "dog/001.png"]
    assert found.inputs[0][0].shape == (8, 8, 3)


def test_folders_called_by_numbers_are_the_class_of_their_number_and_it_is_said(tmp_path):
    found = read(class_folders(tmp_path, {str(n): 1 for n in range(12)}), wanted())
    assert found.names == tuple(map(str, range(12)))
    assert "each is the class of its number" in found.notes[0]


@pytest.mark.parametrize("where", ["recipe", "classes.txt", "labels.txt"])
def test_the_order_that_is_written_down_wins(tmp_path, where):
    class_folders(tmp_path, {"cat": 1, "dog": 1})
    names = () if where != "recipe" else ("dog", "bird", "cat")
    if where != "recipe":
        (tmp_path / where).write_text("dog\nbird\ncat\n", "utf-8")
    found = read(tmp_path, wanted(names=names))
    assert found.names == ("dog", "bird", "cat")
    assert list(found.truth) == [2, 0]


def test_names_that_no_file_system_can_hold_are_found(tmp_path):
    found = read(
        class_folders(tmp_path, {"T-shirt_top": 1, "ankle-boot": 1}), wanted(names=("Ankle boot", "T-shirt/top"))
    )
    assert list(found.truth) == [1, 0]


def test_a_folder_that_is_no_class_of_the_recipe_is_refused_by_name(tmp_path):
    with pytest.raises(UnusableDataError, match=r"folders zebra: none of the classes \(cat, dog\)"):
        read(class_folders(tmp_path, {"cat": 1, "zebra": 1}), wanted(names=("cat", "dog")))


def test_what_systems_leave_behind_is_no_data_and_other_files_are_named(tmp_path):
    class_folders(tmp_path, {"cat": 1, "dog": 1})
    for name in (".DS_Store", "Thumbs.db", "desktop.ini", "cat/.hidden.png", "._dog.jpg"):
        (tmp_path / name).write_bytes(b"?")
    image(tmp_path / "__MACOSX" / "x.png")
    (tmp_path / "cat" / "notes.docx").write_bytes(b"?")
    found = read(tmp_path, wanted())
    assert len(found) == 2
    assert found.notes == ("1 files are no images: cat/notes.docx",)


def test_nested_folders_and_links_are_followed_and_a_circle_ends(tmp_path):
    outside = image(tmp_path / "elsewhere" / "a.png").parent
    root = class_folders(tmp_path / "data", {"dog": 1})
    image(root / "cat" / "2024" / "may" / "x.png")
    (root / "bird").symlink_to(outside)
    (root / "dog" / "again").symlink_to(root)
    found = read(root, wanted())
    assert found.names == ("bird", "cat", "dog")
    assert len(found) == 3


def test_the_only_folder_of_an_unpacked_archive_is_entered(tmp_path):
    found = read(class_folders(tmp_path / "pets" / "pets", {"cat": 1, "dog": 1}).parent, wanted())
    assert found.names == ("cat", "dog")


def test_an_empty_folder_of_a_class_is_said(tmp_path):
    class_folders(tmp_path, {"cat": 1, "dog": 1})
    (tmp_path / "emu").mkdir()
    assert "folders without a sample: emu" in read(tmp_path, wanted()).notes


def test_images_in_no_folder_of_a_class_are_left_out_and_named(tmp_path):
    class_folders(tmp_path, {"cat": 1, "dog": 1})
    image(tmp_path / "loose.png")
    found = read(tmp_path, wanted())
    assert len(found) == 2
    assert "left out: loose.png" in found.notes[0]


def test_images_without_folders_have_no_labels(tmp_path):
    image(tmp_path / "a.png")
    assert read(tmp_path, wanted()).truth is None


def test_folders_by_class_are_no_labels_of_a_detector(tmp_path):
    found = read(class_folders(tmp_path, {"cat": 1, "dog": 1}), wanted("detection"))
    assert found.truth is None
    assert "say nothing that detection is judged by" in found.notes[0]


def test_a_folder_without_images_is_refused(tmp_path):
    with pytest.raises(UnusableDataError, match="has no images"):
        read(tmp_path, wanted())
