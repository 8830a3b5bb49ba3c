"""What is in the way of something on a device: one rule, of what is known; what is not known is named, not guessed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from skerry_agent.wire.admission import (
    Accelerator,
    DeviceFacts,
    Needs,
    below,
    changes,
    lasting,
    obstacles,
    unknown,
)

FACTS = DeviceFacts(
    machine="aarch64",
    python="cp311",
    glibc="2.28",
    agent="0.5.0",
    runtimes={"ai-edge-litert": "2.3.0", "tflite-runtime": "2.14.0"},
    engines={"cpu": "ai-edge-litert", "edgetpu": "tflite-runtime"},
    accelerator=Accelerator("16.0 (1a2b3c4d)", 13, "1.1", "", "6.1.21"),
    ram_bytes=1_000_000_000,
    disk_free_bytes=50_000_000,
)

IN_THE_WAY = {
    "wrong_machine": Needs(machines=("x86_64",)),
    "wrong_python": Needs(pythons=("cp312", "cp313")),
    "glibc_too_old": Needs(glibc="2.34"),
    "agent_too_old": Needs(agent="0.10.0"),
    "no_runtime": Needs(target="onnx", runtimes={"onnxruntime": "1.17"}),
    "runtime_too_old": Needs(target="edgetpu", runtimes={"ai-edge-litert": "1.0", "tflite-runtime": "2.17"}),
    "accelerator_too_old": Needs(edgetpu_runtime=14),
    "not_enough_ram": Needs(ram_bytes=1_000_000_001),
    "not_enough_disk": Needs(disk_bytes=50_000_001),
}

FITS = Needs(
    target="edgetpu",
    machines=("x86_64", "aarch64"),
    pythons=("cp311",),
    glibc="2.28",
    agent="0.5",
    runtimes={"tflite-runtime": "2.9", "ai-edge-litert": "1.0"},
    edgetpu_runtime=13,
    ram_bytes=1_000_000_000,
    disk_bytes=50_000_000,
)


@pytest.mark.parametrize(("code", "needs"), IN_THE_WAY.items())
def test_each_need_that_is_not_met_has_one_code_and_words_with_both_sides(code, needs):
    (found,) = obstacles(needs, FACTS)
    assert found.code == code
    assert "the device" in found.detail
    assert unknown(needs, FACTS) == ()


def test_nothing_is_in_the_way_of_what_fits():
    assert obstacles(FITS, FACTS) == ()
    assert unknown(FITS, FACTS) == ()


def test_everything_that_is_in_the_way_is_said_at_once():
    needs = replace(FITS, glibc="2.34", edgetpu_runtime=14, ram_bytes=2_000_000_000)
    assert [each.code for each in obstacles(needs, FACTS)] == [
        "glibc_too_old",
        "accelerator_too_old",
        "not_enough_ram",
    ]


def test_an_old_accelerator_alone_lets_the_cpu_stand_in():
    found = obstacles(replace(FITS, edgetpu_runtime=14), FACTS)
    assert found
    assert lasting(found) == ()


def test_a_runtime_counts_that_the_device_would_use_and_no_other_that_lies_about():
    needs = Needs(target="edgetpu", runtimes={"ai-edge-litert": "1.0", "tflite-runtime": "2.17"})
    assert [each.code for each in obstacles(needs, FACTS)] == ["runtime_too_old"]
    assert obstacles(replace(needs, target="cpu"), FACTS) == ()


@pytest.mark.parametrize("needs", IN_THE_WAY.values(), ids=IN_THE_WAY)
def test_of_an_older_agent_nothing_is_known_and_nothing_is_in_the_way(needs):
    for facts in (None, DeviceFacts()):
        assert obstacles(needs, facts) == ()
        assert len(unknown(needs, facts)) == 1


def test_a_release_of_before_needs_nothing():
    assert obstacles(None, FACTS) == ()
    assert unknown(None, None) == ()


@pytest.mark.parametrize(
    ("version", "least", "is_below"),
    [
        ("2.9", "2.10", True),
        ("2.10", "2.9", False),
        ("2.10rc1", "2.10", False),
        ("2", "2.0.0", False),
        ("6.6.31+rpt-rpi-v8", "6.6.32", True),
        ("unknown", "1.0", False),
        ("1.0", "", False),
        ("", "1.0", False),
    ],
)
def test_versions_are_compared_by_their_numbers(version, least, is_below):
    assert below(version, least) is is_below


@given(st.text(max_size=20), st.text(max_size=20))
def test_no_text_of_a_device_breaks_the_comparison(one, other):
    assert not (below(one, other) and below(other, one))


def test_what_changed_of_an_accelerator_is_said_with_both_values():
    before = Accelerator("15.0", 13, "1.1", "", "6.1.21")
    now = Accelerator("16.0", 14, "1.1", "", "6.6.31")
    assert changes(before, now) == "library 15.0 -> 16.0, runtime 13 -> 14, kernel 6.1.21 -> 6.6.31"
    assert changes(before, replace(now, library="", runtime=None)) == "kernel 6.1.21 -> 6.6.31"
    assert changes(now, now) == ""
