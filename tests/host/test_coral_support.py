"""What works with an Edge TPU is data with sources; the first row that fits holds, and nothing known is said so."""

import re
from typing import get_args

import pytest

from skerry_host.boards import list_boards
from skerry_host.coral_support import Combination, RuntimeRange, Verdict, driver_kind, known, rows, tflite_of
from skerry_host.systems import list_systems

PI = Combination("raspberry-pi-4-coral-usb", "raspberry-pi-os-bookworm", "3.11", "tflite-runtime", "2.14.0", "TF2.16.1")
MENDEL = Combination("coral-dev-board", "mendel", "3.7", "tflite-runtime", "2.7.0", "vendor")


def of(base, **changes):
    return known(Combination(**{name: changes.get(name, getattr(base, name)) for name in base.__struct_fields__}))


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ({}, "edgetpu works"),
        ({"driver": "TF2.15.1"}, "edgetpu works"),
        ({"driver": "TF2.13.1"}, "edgetpu works"),
        ({"driver": "TF2.17.1"}, "unknown"),
        ({"driver": "built"}, "unknown"),
        ({"driver": "none"}, "ends on the CPU"),
        ({"driver": "vendor"}, "crashes"),
        ({"driver": "vendor", "version": "2.12.0"}, "crashes"),
        ({"driver": "vendor", "version": "2.11.1"}, "edgetpu works"),
        ({"driver": "vendor", "version": "2.5.0.post1"}, "edgetpu works"),
        ({"driver": "TF2.16.1", "version": "2.17.0"}, "unknown"),
        ({"driver": "TF2.17.0", "version": "2.17.0"}, "edgetpu works"),
        ({"runtime": "ai-edge-litert", "version": "2.3.0", "driver": "vendor"}, "crashes"),
        ({"driver": "TF2.17.1", "version": "2.17.1"}, "edgetpu works"),
        ({"runtime": "ai-edge-litert", "version": "2.1.6", "driver": "TF2.19.1"}, "edgetpu works"),
        ({"runtime": "ai-edge-litert", "version": "2.2.0", "driver": "TF2.19.1"}, "edgetpu works"),
        ({"runtime": "ai-edge-litert", "version": "2.3.0", "driver": "TF2.19.1"}, "unknown"),
        ({"runtime": "ai-edge-litert", "version": "2.2.0", "driver": "TF2.17.1"}, "unknown"),
    ],
)
def test_what_is_known_of_a_raspberry_pi_with_a_stick(changes, verdict):
    assert of(PI, **changes).verdict == verdict


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ({}, "does not start"),
        ({"python": "3.11", "version": "2.14.0", "driver": "TF2.16.1"}, "does not start"),
        ({"python": "3.11", "runtime": "ai-edge-litert", "version": "2.3.0"}, "crashes"),
        ({"python": "3.11", "runtime": "ai-edge-litert", "version": "2.3.0", "driver": "TF2.17.1"}, "unknown"),
        ({"python": "3.11", "runtime": "ai-edge-litert", "version": "2.3.0", "driver": "none"}, "ends on the CPU"),
    ],
)
def test_what_is_known_of_mendel(changes, verdict):
    assert of(MENDEL, **changes).verdict == verdict


def test_every_row_names_a_public_source_and_what_to_take_where_it_does_not_work():
    assert {row.verdict for row in rows()} == set(get_args(Verdict))
    for row in rows():
        assert re.search(r"github\.com|coral\.ai|published wheels|load_delegate", row.source), row
        assert bool(row.take) == (row.verdict != "edgetpu works"), row


def test_no_row_names_a_board_or_a_system_that_there_is_not():
    for row in rows():
        assert set(row.boards) <= set(list_boards())
        assert set(row.systems) <= set(list_systems())


def test_every_row_is_the_first_that_fits_something():
    """A row that others hide says nothing."""
    pairs = [
        ("tflite-runtime", v) for v in ("2.7.0", "2.11.1", "2.12.0", "2.14.0", "2.15.0", "2.15.1", "2.16.1", "2.17.0")
    ]
    pairs += [("tflite-runtime", "2.17.1"), ("ai-edge-litert", "2.2.0"), ("ai-edge-litert", "2.3.0")]
    drivers = ("none", "vendor", "built", "TF2.13.1", "TF2.15.0", "TF2.15.1", "TF2.16.1", "TF2.17.0", "TF2.17.1")
    drivers += ("TF2.19.1",)
    places = [("coral-dev-board", "mendel", "3.7"), ("coral-dev-board", "mendel", "3.11")]
    places.append(("raspberry-pi-4-coral-usb", "raspberry-pi-os-bookworm", "3.11"))
    every = [Combination(*place, *pair, driver) for place in places for pair in pairs for driver in drivers]
    assert {known(one) for one in every} == set(rows())


@pytest.mark.parametrize(
    ("version", "tflite", "kind"),
    [
        ("16.0", "", "vendor"),
        ("15.0", "", "vendor"),
        ("16.0tf2.17.1-1.bookworm", "2.17.1", "TF2.17.1"),
        ("16.0TF2.19.1-1", "2.19.1", "TF2.19.1"),
        ("17.0", "", "built"),
        ("", "", "built"),
    ],
)
def test_what_a_driver_was_built_for_is_in_its_version(version, tflite, kind):
    assert tflite_of(version) == tflite
    assert driver_kind(version, tflite) == kind


def test_both_ends_of_a_range_are_in_it():
    some = RuntimeRange("tflite-runtime", "2.11.1", "2.15.0")
    assert [some.holds("tflite-runtime", v) for v in ("2.11.0", "2.11.1", "2.15.0", "2.15.1", "2.15.0.post1")] == [
        False,
        True,
        True,
        False,
        True,
    ]
    assert not some.holds("ai-edge-litert", "2.12")
