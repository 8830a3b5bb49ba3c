"""Readers of arrays: .npy, .npz, golden files, samples of a recipe; and what is taken for such: WAV, pictures, CSV.

Nothing here decodes WAV, PNG or CSV: no reader of them exists. They are what users name where an .npz belongs.
"""

import contextlib
import io
import json
import struct
import wave
import zipfile
import zlib

import numpy as np
from msgspec.structs import replace

from skerry_agent.processing import GoldenSet, ProcessingError, load_golden, parse_npy, parse_npz, save_golden
from skerry_agent.runner import golden
from skerry_agent.runner.errors import GoldenError
from skerry_agent.wire.manifest import Preprocess, TensorSpec
from skerry_host.builder.data import lint, samples
from skerry_host.builder.recipe.errors import RecipeError
from skerry_host.builder.recipe.recipe import Data, GoldenPlan, LoadedRecipe, Recipe, SourcePlan
from tests.fuzz.files import scratch_file

DTYPES = ("u1", "i1", "<f2", "<f4", ">f8", "?", "<c8", "<M8[s]", "S3", "<U2", "V4")
NPY_TOKENS = (
    b"('<f",
    b"'|O'",
    b"'O8'",
    b"'fortran_order': True",
    b"'shape': ()",
    b"(-1,)",
    b"(0, 1000000000000)",
    b"'descr': []",
    b"'descr': [('a', '<f4'), ('b', 'O')]",
    b"'<M8[ns]'",
    b"'(2,3)f4'",
    b"'f4,f4'",
    b"# -*- coding: latin-1 -*-",
    b"lambda",
    b"\x93NUMPY\x02\x00",
    b"\x93NUMPY\x03\x00",
    b"10L",
    b"0x",
    b"1_",
    b"'''",
    b"f'{x}'",
)


def npy_seeds() -> list[bytes]:
    arrays = [np.zeros((2, 3), kind) for kind in DTYPES]
    arrays += [np.arange(12, dtype=np.uint8).reshape(3, 4), np.float32(3.5), np.zeros((0, 4), np.uint8)]
    arrays += [np.asfortranarray(np.arange(12.0).reshape(3, 4)), np.zeros(2, [("a", "<f4")])]
    return [_npy(array) for array in arrays] + [_npy(np.zeros(3), version=(2, 0)), _npy(np.zeros(3), version=(3, 0))]


def npz_seeds() -> list[bytes]:
    """Packed, stored, of several members; and archives whose members are damaged though their checksums are right."""
    made = [_npz(inputs=np.zeros((3, 4), np.uint8), labels=np.arange(3)), _npz(x=np.float64(1))]
    damaged = [b"", b"\x93NUMPY", b"\x93NUMPY\x01\x00\x0e\x00{'descr': ('<f\n", npy_seeds()[0][:-1]]
    made += [_zip({"inputs.npy": member}) for member in damaged]
    made += [
        _zip({"a.npy": b"x" * 50}, method) for method in (zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
    ]
    return [*made, _zip({"../../etc/x.npy": npy_seeds()[0], "\u202e.npy": b""}), _bomb()]


def golden_seeds() -> list[bytes]:
    rows = np.arange(12, dtype=np.int8).reshape(3, 4)
    return [
        save_golden(GoldenSet((rows,), (rows,))),
        save_golden(GoldenSet((rows.astype(np.float32), rows), (rows[:, :2],))),
        _npz(input_0=rows, output_0=rows[:2]),
        _npz(input_0=rows, output_0=np.zeros((3, 0))),
        *npy_seeds(),
        _npy(rows.reshape(3, 2, 2)),
    ]


def foreign_seeds() -> list[bytes]:
    return [
        *wav_seeds(),
        *picture_seeds(),
        json.dumps([[1, 2], [3, 4]]).encode(),
        b"1,2,3\n4,5,6\n",
        b"\x89HDF\r\n\x1a\n",
    ]


def wav_seeds() -> list[bytes]:
    made = []
    for width, channels in ((1, 1), (2, 1), (2, 2), (4, 1)):
        stream = io.BytesIO()
        with wave.open(stream, "wb") as file:
            file.setnchannels(channels)
            file.setsampwidth(width)
            file.setframerate(16000)
            file.writeframes(bytes(range(64)))
        made.append(stream.getvalue())
    return made


def picture_seeds() -> list[bytes]:
    """A PNG, a BMP and a PGM of 4 x 4 pixels."""
    rows = b"".join(b"\0" + bytes(range(12)) for _ in range(4))
    chunks = ((b"IHDR", struct.pack(">IIBBBBB", 4, 4, 8, 2, 0, 0, 0)), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    png = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
    bmp = b"BM" + struct.pack("<IHHI", 102, 0, 0, 54) + struct.pack("<IiiHHIIiiII", 40, 4, 4, 1, 24, 0, 48, 1, 1, 0, 0)
    return [png, bmp + bytes(range(48)), b"P5 4 4 255\n" + bytes(range(16))]


def _npy(array: object, version: tuple[int, int] | None = None) -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array(stream, np.asanyarray(array), version=version)
    return stream.getvalue()


def _npz(**arrays: object) -> bytes:
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays)
    return stream.getvalue()


def _zip(members: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return stream.getvalue()


def _bomb() -> bytes:
    """A member of 64 MB that says it has 128 bytes, in both of its headers."""
    packed = _zip({"inputs.npy": bytes(64 << 20)}, zipfile.ZIP_DEFLATED)
    return packed.replace(struct.pack("<I", 64 << 20), struct.pack("<I", 128))


def open_golden() -> object:
    path = scratch_file("golden")

    def read(raw: bytes) -> None:
        """As the host reads it, and as a device does; a file that one takes the other takes as well."""
        raw = _archive(raw, "input_0", "output_0")
        path.write_bytes(raw)
        here = None
        with contextlib.suppress(ProcessingError):
            here = load_golden(raw)
        try:
            there = golden.load_golden(str(path))
        except GoldenError:
            assert here is None
            raise
        assert here is not None
        assert len(here) == len(there)

    return read


TENSORS = (
    (Preprocess(), TensorSpec("x", "float32", (1, 3, 4))),
    (Preprocess(scale=1 / 255), TensorSpec("x", "int8", (1, 4), 0.5, -3)),
    (Preprocess(resize="letterbox", mean=(1.0, 2.0, 3.0)), TensorSpec("x", "uint8", (1, 8, 6, 3), 0.5, 3)),
    (Preprocess(resize="crop", color="gray"), TensorSpec("x", "float32", (1, 8, 6, 1))),
    (Preprocess(layout="nchw", color="bgr"), TensorSpec("x", "float32", (1, 3, 8, 6))),
)


def open_recipe_data() -> object:
    """Calibration and evaluation samples of a recipe, read and linted: one file for both, for several models."""
    path = scratch_file("samples")

    def read(raw: bytes) -> None:
        names = ("labels", "inputs") if zlib.crc32(raw) % 4 == 0 else ("inputs", "labels")
        path.write_bytes(_archive(raw, *names))
        refusals = []
        for prep, tensor in TENSORS:
            recipe = replace(RECIPE, preprocess=prep)
            try:
                lint.lint(samples.load_data(LoadedRecipe(recipe, "", None, path, path, path), (tensor,), 4))
            except RecipeError as error:
                refusals.append(error)
        if len(refusals) == len(TENSORS):
            raise refusals[0]

    return read


RECIPE = Recipe(
    1, "r", "classification", "", SourcePlan("m"), Data("c", "e", min_calibration_samples=1), golden=GoldenPlan(2)
)


def data_seeds() -> list[bytes]:
    """Arrays that fit one of `TENSORS`, and some that nearly do."""
    rng = np.random.default_rng(5)
    shapes = ((3, 3, 4), (3, 4), (3, 9, 7, 3), (3, 9, 7), (3, 3, 8, 6))
    made = [_npy(rng.integers(0, 255, shape, np.uint8)) for shape in shapes]
    made += [_npy(rng.normal(0, 1, shape).astype(kind)) for shape in shapes for kind in ("<f4", "<f8", "<f2")]
    made += [_npy(np.array([[np.nan, 1e300, 3e38, 1]] * 3)), _npy(np.zeros((3, 4), complex)), _npy(np.zeros((0, 4)))]
    return [*made, _npy(np.zeros((3, 0, 7, 3), np.uint8)), _npz(inputs=np.zeros((3, 4))), *npy_seeds()]


def _archive(raw: bytes, *names: str) -> bytes:
    """An archive as it is; an array as the first of its members, so that its checksum is right and it is read."""
    if raw.startswith(b"PK"):
        return raw
    return _zip({f"{name}.npy": raw if name == names[0] else GOOD.get(name, GOOD["labels"]) for name in names})


GOOD = {"labels": _npy(np.array([0, 1, 2])), "inputs": _npy(np.arange(36, dtype=np.uint8).reshape(3, 3, 4))}

READERS = (
    ("npy", npy_seeds, lambda: parse_npy, (ProcessingError,), NPY_TOKENS),
    ("npz", npz_seeds, lambda: parse_npz, (ProcessingError,), NPY_TOKENS),
    ("golden", golden_seeds, open_golden, (GoldenError,), NPY_TOKENS),
    ("recipe-data", data_seeds, open_recipe_data, (RecipeError,), NPY_TOKENS, True),
    ("wav", wav_seeds, lambda: parse_npz, (ProcessingError,), (b"RIFF", b"WAVE", b"fmt ", b"PK\3\4", b"\x93NUMPY")),
    ("foreign", foreign_seeds, lambda: parse_npy, (ProcessingError,), (b"PK\3\4", b"\x93NUMPY\x01\x00")),
)
