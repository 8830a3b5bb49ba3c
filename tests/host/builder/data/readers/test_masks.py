"""Masks of images: indices of classes, of the size of their image."""

import numpy as np
import pytest
from PIL import Image

from skerry_host.builder.data.readers.base import UnusableDataError, Wanted
from skerry_host.builder.data.readers.masks import read
from tests.kit.datasets import image, plan, png, problem

CLASSES = np.arange(64, dtype=np.uint8).reshape(8, 8) % 3


def wanted(**keys):
    return Wanted("segmentation", (), plan(**keys))


def pairs(root, mask: bytes, folders=("images", "masks"), ending=""):
    image(root / folders[0] / "a.png")
    (root / folders[1]).mkdir(parents=True, exist_ok=True)
    (root / folders[1] / f"a{ending}.png").write_bytes(mask)
    return root


def palette(array) -> Image.Image:
    made = Image.new("P", (array.shape[1], array.shape[0]))
    made.putdata(array.ravel().tolist())
    made.putpalette([200, 0, 0, 0, 200, 0, 0, 0, 200])
    return made


@pytest.mark.parametrize("folders", [("images", "masks"), ("JPEGImages", "SegmentationClass"), ("img", "labels")])
def test_pixels_of_a_mask_are_classes(tmp_path, folders):
    found = read(pairs(tmp_path, png(CLASSES), folders), wanted())
    np.testing.assert_array_equal(found.truth[0], CLASSES)


def test_the_index_of_a_palette_counts_not_its_colour(tmp_path):
    root = pairs(tmp_path, png(CLASSES))
    palette(CLASSES).save(root / "masks" / "a.png")
    np.testing.assert_array_equal(read(root, wanted()).truth[0], CLASSES)


def test_masks_of_16_bits_and_grey_saved_as_colours(tmp_path):
    deep = CLASSES.astype(np.uint16) + 300
    found = read(pairs(tmp_path, png(deep)), wanted())
    np.testing.assert_array_equal(found.truth[0], deep)
    grey = read(pairs(tmp_path, png(np.repeat(CLASSES[..., None], 3, axis=2))), wanted())
    np.testing.assert_array_equal(grey.truth[0], CLASSES)


def test_the_value_that_is_ignored_is_the_recipes(tmp_path):
    found = read(pairs(tmp_path, png(CLASSES)), wanted(ignore=2))
    np.testing.assert_array_equal(found.truth[0], np.where(CLASSES == 2, 255, CLASSES))


def test_masks_of_black_and_white_are_two_classes_and_it_is_said(tmp_path):
    found = read(pairs(tmp_path, png(np.where(CLASSES == 1, 255, 0).astype(np.uint8))), wanted())
    np.testing.assert_array_equal(found.truth[0], CLASSES == 1)
    assert "255 is class 1" in found.notes[0]
    ignored = read(pairs(tmp_path, png(np.where(CLASSES == 1, 255, 0).astype(np.uint8))), wanted(ignore=255))
    assert set(np.unique(ignored.truth[0])) == {0, 255}


DAMAGED = {
    "of another size": (png(CLASSES[:4]), "a.png has 8 x 4 pixels, the image 8 x 8"),
    "of colours": (png(np.dstack([CLASSES, CLASSES + 1, CLASSES])), "colours, not indices"),
    "cut off": (png(np.random.default_rng(1).integers(0, 9, (8, 8), dtype=np.uint8))[:-60], "cannot be read"),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_a_mask_that_says_nothing_of_its_image_is_named(tmp_path, case):
    content, reason = DAMAGED[case]
    assert reason in problem(read(pairs(tmp_path, content), wanted()).truth, 0)


def test_masks_beside_their_images(tmp_path):
    pairs(tmp_path, png(CLASSES), (".", "."), "_mask")
    assert [path.name for path in read(tmp_path, wanted()).files[0]] == ["a.png", "a_mask.png"]


def test_parts_of_the_same_name_are_not_mixed_up(tmp_path):
    for part in ("train", "val"):
        pairs(tmp_path / part, png(CLASSES))
    for image_file, mask in read(tmp_path, wanted()).files:
        assert image_file.parent.parent == mask.parent.parent


def test_images_without_a_mask_are_left_out_and_named(tmp_path):
    image(pairs(tmp_path, png(CLASSES)) / "images" / "b.png")
    assert "left out: b.png" in read(tmp_path, wanted()).notes[0]


def test_no_masks_at_all_are_refused(tmp_path):
    image(tmp_path / "images" / "a.png")
    with pytest.raises(UnusableDataError, match="no image has a mask of the same name"):
        read(tmp_path, wanted())
