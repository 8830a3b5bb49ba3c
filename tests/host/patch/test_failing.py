"""A candidate that fails costs a larger patch and a line that says so, never the patch."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from skerry_agent.patch import Codec
from skerry_host.cli.delta import write_patch
from skerry_host.patch import EncodeError, Patch, create
from skerry_host.patch.create import Encoders
from skerry_host.patch.model import Attempt
from skerry_host.patch.programs import Guard, encode_programs
from skerry_host.patch.progress import Progress
from tests.kit.patch_models import Net, layer, patch_of, tflite, tuned


def without_model(old: bytes, new: bytes, guard: Guard, _progress: Progress) -> dict[Codec, Attempt]:
    made = encode_programs(old, new)
    with guard("model"):
        del made["model"]
        raise ValueError("shapes (32,128) (32,64)\ndo not fit")
    return made


def damaged(old: bytes, new: bytes, guard: Guard, _progress: Progress) -> dict[Codec, Attempt]:
    made = encode_programs(old, new, guard)["model"]
    return {"model": replace(made, payload=made.payload[:-9] + bytes(9), lean=made.lean[:-9] + bytes(9))}


def broken(*_: object, **__: object) -> bytes:
    raise MemoryError


@pytest.fixture
def pair() -> tuple[bytes, bytes]:
    rng = np.random.default_rng(7)
    before = layer(rng, 40, 60)
    return tflite(Net((before,))), tflite(Net((tuned(rng, before, 0.5),)))


def test_the_other_candidates_take_the_place_of_one_that_fails(pair: tuple[bytes, bytes]) -> None:
    assert patch_of(*pair).codec == "model"
    patch = create(*pair, Encoders(without_model))
    assert set(patch.candidates) == {"bsdiff", "zstd", "full"}
    assert [(one.codec, one.reason) for one in patch.failed] == [
        ("model", "ValueError: shapes (32,128) (32,64) do not fit")
    ]


def test_each_program_is_made_under_a_guard_of_its_own(pair: tuple[bytes, bytes]) -> None:
    guarded: list[Codec] = []

    @contextmanager
    def guard(codec: Codec) -> Iterator[None]:
        guarded.append(codec)
        yield

    assert set(encode_programs(*pair, guard)) == {"model", "bsdiff"}
    assert guarded == ["model", "typed", "bsdiff"]


def test_a_candidate_that_makes_another_file_is_left_out(pair: tuple[bytes, bytes]) -> None:
    patch = create(*pair, Encoders(damaged))
    assert patch.codec in {"zstd", "full"}
    assert [one.codec for one in patch.failed] == ["model"]
    assert patch.failed[0].reason.startswith("EncodeError: ")


def test_a_whole_file_candidate_may_fail(pair: tuple[bytes, bytes]) -> None:
    patch = create(*pair, Encoders(zstd=broken))
    assert patch.codec == "model"
    assert [str(one).partition(";")[0] for one in patch.failed] == [
        "the zstd candidate failed and was left out (MemoryError)"
    ]


def test_what_both_programs_rest_on_may_fail(pair: tuple[bytes, bytes]) -> None:
    """Such as the alignment of two files for which memory is too small."""
    patch = create(*pair, Encoders(broken))
    assert patch.codec in {"zstd", "full"}
    assert [(one.codec, one.reason) for one in patch.failed] == [("bsdiff", "MemoryError")]


def test_no_candidate_at_all_is_an_error(pair: tuple[bytes, bytes]) -> None:
    with pytest.raises(EncodeError, match="every candidate failed: full: MemoryError; zstd: MemoryError"):
        create(*pair, Encoders(lambda *_: {}, broken, broken))


@pytest.mark.parametrize("as_json", [False, True])
def test_the_command_writes_the_patch_and_says_what_failed(
    as_json: bool, pair: tuple[bytes, bytes], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old, new, out = (tmp_path / name for name in ("old", "new", "patch"))
    old.write_bytes(pair[0])
    new.write_bytes(pair[1])

    def make(old: bytes, new: bytes) -> Patch:
        return create(old, new, Encoders(without_model))

    write_patch((old, new, out), as_json, make)
    said = capsys.readouterr()
    (line,) = said.err.splitlines()
    assert line.startswith("warning: the model candidate failed and was left out (ValueError: shapes (32,128) (32,64)")
    assert out.stat().st_size
    if as_json:
        assert json.loads(said.out)["warnings"] == [line.removeprefix("warning: ")]
