"""How a value with its uncertainty is written: as many digits as it carries, and no more."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry_agent.wire.figures import energy_text, with_uncertainty

WATTS = ((1.0, "W"),)


@pytest.mark.parametrize(
    ("micro_joules", "bound", "text"),
    [
        (2143, 0.35, "2.1 ± 0.8 mJ"),
        (1429, 0.35, "1.4 ± 0.5 mJ"),
        (123.456, 0.35, "120 ± 40 µJ"),
        (123.456, 0.012, "123.5 ± 1.5 µJ"),
        (50, 0.8, "50 ± 40 µJ"),
        (1e6, 0.2, "1.0 ± 0.2 J"),
        (2143, None, "2.1 mJ"),
        (830, None, "830 µJ"),
        (0, None, "0 µJ"),
    ],
)
def test_an_energy_shows_no_digit_that_it_does_not_carry(micro_joules, bound, text):
    assert energy_text(micro_joules, bound) == text


def test_three_ticks_of_a_clock_no_longer_look_like_a_figure():
    """Before: 2143 uJ, which is 3 ticks of 10 ms of a core of 1.5 W, each for 21 inferences."""
    assert energy_text(2143.0, 1 / 3 + 0.35) == "2.1 ± 1.5 mJ"


@given(st.floats(1e-3, 1e12), st.floats(1e-4, 3.0))
def test_value_and_uncertainty_end_at_the_same_place_and_say_what_they_were(value, bound):
    text = with_uncertainty(value, bound, WATTS)
    shown, shown_bound = re.fullmatch(r"([0-9.]+) ± ([0-9.]+) W", text).groups()
    assert len(shown.partition(".")[2]) == len(shown_bound.partition(".")[2])
    assert len(shown_bound.replace(".", "").strip("0")) <= 2
    assert float(shown_bound) == pytest.approx(value * bound, rel=0.5)
    assert abs(float(shown) - value) <= 0.51 * float(shown_bound) + 1e-9


@given(st.floats(), st.none() | st.floats())
def test_what_a_device_says_neither_fails_nor_fills_a_screen(value, bound):
    """Before, an uncertainty of 1e-320 was an OverflowError on the page, and one of 1e-300 three hundred zeros."""
    assert len(energy_text(value, bound)) <= 60
