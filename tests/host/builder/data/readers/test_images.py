"""Image files as people have them: each becomes plain upright pixels, or is named with what is wrong."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from skerry_host.builder.data.readers.base import DamagedError
from skerry_host.builder.data.readers.images import ImageFiles, conversions, decode, look

RANDOM = np.random.default_rng(3)
COLOURS = RANDOM.integers(0, 256, (6, 8, 3), dtype=np.uint8)


def png_header(width: int, height: int) -> bytes:
    """A PNG that says to be of a size, with hardly any data."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")


def turned(path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(COLOURS).save(path, exif=exif)


@pytest.mark.parametrize(
    ("mode", "shape", "said"),
    [
        ("RGB", (6, 8, 3), []),
        ("L", (6, 8, 1), []),
        ("P", (6, 8, 3), ["1 image with a palette, as RGB"]),
        ("RGBA", (6, 8, 3), ["1 image with transparency, without it"]),
        ("LA", (6, 8, 1), ["1 image with transparency, without it"]),
        ("1", (6, 8, 1), ["1 image black and white, as grey"]),
        ("I;16", (6, 8, 1), ["1 image of more than 8 bits, as 8 bits"]),
    ],
)
def test_every_kind_of_pixels_becomes_8_bits_of_colours_or_grey_and_it_is_said(tmp_path, mode, shape, said):
    made = Image.fromarray(COLOURS)
    made = Image.fromarray(COLOURS[..., 0].astype(np.uint16) * 257) if mode == "I;16" else made.convert(mode)
    made.save(tmp_path / "x.png")
    pixels = decode(tmp_path / "x.png")
    assert (pixels.shape, pixels.dtype) == (shape, np.uint8)
    assert conversions([look(tmp_path / "x.png")]) == said
    if mode == "I;16":
        np.testing.assert_array_equal(pixels[..., 0], COLOURS[..., 0])


def test_what_an_image_library_writes_of_a_damaged_file_is_not_seen_and_the_file_is_named(tmp_path, capfd):
    """libtiff and Pillow wrote lines of their own between ours."""
    noise = Image.fromarray(RANDOM.integers(0, 256, (64, 64, 3), dtype=np.uint8))
    for kind in ("tiff_lzw", "tiff_deflate"):
        noise.save(tmp_path / "x.tif", compression=kind)
        whole = (tmp_path / "x.tif").read_bytes()
        for bad in (whole[:200] + bytes(3000) + whole[3200:], whole[: len(whole) // 2]):
            (tmp_path / "x.tif").write_bytes(bad)
            with pytest.raises(DamagedError):
                decode(tmp_path / "x.tif")
    assert not capfd.readouterr().err


def test_colours_of_a_printer_become_red_green_and_blue(tmp_path):
    Image.new("CMYK", (8, 6), (0, 255, 255, 0)).save(tmp_path / "x.jpg", quality=100)
    red = decode(tmp_path / "x.jpg")[3, 3]
    assert red[0] > 200
    assert max(red[1:]) < 60


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photograph_is_turned_as_its_camera_was_held(tmp_path, orientation):
    turned(tmp_path / "x.png", orientation)
    pixels = decode(tmp_path / "x.png")
    wanted = {
        1: COLOURS,
        2: COLOURS[:, ::-1],
        3: COLOURS[::-1, ::-1],
        4: COLOURS[::-1],
        5: COLOURS.transpose(1, 0, 2),
        6: np.rot90(COLOURS, -1),
        7: np.rot90(COLOURS, -1)[:, ::-1][::-1, ::-1].transpose(1, 0, 2)[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(COLOURS),
    }[orientation]
    if orientation != 7:  # the one that no camera writes: its size is enough
        np.testing.assert_array_equal(pixels, wanted)
    header = look(tmp_path / "x.png")
    assert (header.height, header.width) == pixels.shape[:2]


def test_the_first_frame_of_a_moving_image_counts(tmp_path):
    frames = [Image.new("L", (8, 6), value) for value in (10, 200)]
    frames[0].save(tmp_path / "x.gif", save_all=True, append_images=frames[1:])
    assert decode(tmp_path / "x.gif").max() <= 10
    assert any("several frames" in kind for kind in look(tmp_path / "x.gif").conversions)


DAMAGED = {
    "an image bomb": (png_header(60_000, 60_000), "million pixels"),
    "a larger image than a camera makes": (png_header(9_000, 9_000), "9000 x 9000 pixels"),
    "cut off": (None, "truncated"),
    "a text": (b"hello, this is no image", "is no image"),
    "empty": (b"", "is no image"),
    "without its data": (png_header(100, 100), "."),
    "a program for a printer": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n", "is no image"),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_what_cannot_be_decoded_is_damaged_and_takes_no_memory(tmp_path, case):
    content, reason = DAMAGED[case]
    path = tmp_path / "x.png"
    if content is None:
        Image.fromarray(RANDOM.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(path)
        content = path.read_bytes()[:-2000]
    path.write_bytes(content)
    with pytest.raises(DamagedError, match=reason):
        ImageFiles([path])[0]


def test_decoded_images_are_kept_within_a_bound(tmp_path):
    Image.new("RGB", (100, 100)).save(tmp_path / "x.png")
    files = ImageFiles([tmp_path / "x.png"] * 4, limit=70_000)
    for at in range(4):
        assert files[at][0].shape == (100, 100, 3)
        assert files._bytes <= 70_000
    assert len(files._kept) == 2


def test_a_large_jpeg_that_is_cut_off_is_found_without_decoding_it_in_full(tmp_path):
    blocks = np.kron(RANDOM.integers(0, 256, (12, 12, 3), dtype=np.uint8), np.ones((100, 100, 1), np.uint8))
    Image.fromarray(blocks).save(tmp_path / "x.jpg")
    files = ImageFiles([tmp_path / "x.jpg"])
    files.check(0)
    assert not files._kept
    (tmp_path / "x.jpg").write_bytes((tmp_path / "x.jpg").read_bytes()[:-5000])
    with pytest.raises(DamagedError, match="truncated"):
        files.check(0)
