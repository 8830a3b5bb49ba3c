"""LiteRT's own profiler: what it says of real models, and that nothing falls with it."""

import json
from functools import partial
from pathlib import Path

import pytest

from skerry_host.builder.runtime.profile.litert import (
    VERSION,
    Kernel,
    UnavailableError,
    combined,
    profile_kernels,
    read_summary,
)
from skerry_host.builder.runtime.profile.tflite import profile_file
from skerry_host.cli.main import run
from tests.kit.recipes import FASHION, REAL, needs_real

MODEL = FASHION / "fashion-1.0.0.tflite"
SUMMARY = """
============= Run Order =============
                 [node type]  [start]  [first]  [avg ms]      [%]    [cdf%]  [mem KB]  [times called]  [Name]
 Delegate/Mean (ND) Reduce2     0.000    0.003     0.004  25.000%   25.000%     0.000               2  [Delegate]:0
                    SOFTMAX     0.000    0.006     0.007  75.000%  100.000%     0.000               2  [Builtin]:1

======= Top by Computation Time =======
                    SOFTMAX     0.000    0.006     0.007  75.000%  100.000%     0.000               2  [Builtin]:1
Timings (microseconds): count=19 curr=80
"""


def test_the_kernels_of_a_real_model_are_timed():
    found = profile_kernels(MODEL)
    assert (found.of, found.method) == ("kernels", "LiteRT's profiler")
    assert sum("IGEMM" in op.op or "DWConv" in op.op or "GEMM" in op.op for op in found.ops) >= 15
    assert any("Softmax" in op.op for op in found.ops)
    assert found.whole_us > 0
    assert found.sum_us > 0


@needs_real
@pytest.mark.parametrize("name", ["split_concat", "mobilenet_v1_0.25_128_quant"])
def test_models_with_several_ends_and_without_a_signature(name: str):
    assert profile_kernels(REAL / "edgetpu" / f"{name}.tflite").ops


def test_the_command_says_kernels_and_operators_where_asked(capsys, tmp_path: Path):
    assert run(["model", "profile", str(MODEL), "--json", "--trace", str(tmp_path / "t.json")]) == 0
    assert json.loads(capsys.readouterr().out)["of"] == "kernels"
    assert '"cat": "kernel"' in (tmp_path / "t.json").read_text("utf-8")
    assert run(["model", "profile", str(MODEL), "--by", "operators"]) == 0
    assert "each operator alone" in capsys.readouterr().out


def test_a_summary_is_read_by_its_shares():
    assert read_summary(SUMMARY) == [Kernel("Mean (ND) Reduce2", 20.0, 2), Kernel("SOFTMAX", 60.0, 2)]


def test_windows_give_the_median_and_must_agree():
    """Summaries add up: windows of 2 calls that took 6, 1800 and 8 us."""
    summaries = [[Kernel("A", total, calls)] for total, calls in ((4.0, 2), (10.0, 4), (1810.0, 6), (1818.0, 8))]
    assert [op.us for op in combined(summaries, 5.0).ops] == [4.0]
    with pytest.raises(UnavailableError, match="other ones each time"):
        combined([[Kernel("A", 1.0, 2)], [Kernel("B", 1.0, 4)]], 5.0)
    with pytest.raises(UnavailableError, match="do not add up"):
        combined([[Kernel("A", 1.0, 2)], [Kernel("A", 2.0, 2)]], 5.0)
    with pytest.raises(UnavailableError, match="another form"):
        read_summary("nothing")


STAND_IN = """#!/bin/sh
# A stand-in for the child that profiles: {what}
{body}
"""
CASES = {
    "a crash": ("kill -SEGV $$", "crashes (signal 11)"),
    "an error": ("echo 'UnavailableError: LiteRtCreateOptions gives status 3' >&2; exit 1", "gives status 3"),
    "a hang": ("sleep 60", "timed out after 1 s"),
}


@pytest.mark.parametrize("case", CASES)
def test_what_befalls_it_is_said_and_operators_are_timed_instead(tmp_path: Path, case: str):
    body, words = CASES[case]
    stand_in = tmp_path / "python"
    stand_in.write_text(STAND_IN.format(what=case, body=body))
    stand_in.chmod(0o755)
    kernels = partial(profile_kernels, seconds=1, python=str(stand_in))
    with pytest.raises(UnavailableError) as refused:
        kernels(MODEL)
    assert words in str(refused.value)
    if case == "a crash":
        found = profile_file(MODEL, kernels=kernels)
        assert (found.of, len(found.ops)) == ("operators", 18)
        assert found.note == "LiteRT's profiler crashes (signal 11); operators are timed individually instead"


def test_another_version_is_not_touched():
    """Nothing is started: there is no such program."""
    with pytest.raises(UnavailableError) as refused:
        profile_kernels(MODEL, python="/nowhere/python", installed=lambda _package: "9.9.9")
    assert str(refused.value) == f"LiteRT's profiler is known in ai-edge-litert {VERSION}, this is 9.9.9"
