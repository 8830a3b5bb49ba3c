"""Times of the registry as dates, whatever a damaged row holds."""

import pytest

from skerry_host import dates


def test_a_moment_is_a_date():
    assert dates.utc(1_800_000_000.0, "%Y-%m-%d %H:%M") == "2027-01-15 08:00"
    assert dates.local(1_800_000_000.0, "%Y") == "2027"


@pytest.mark.parametrize("at", [1e308, -1e308, float("inf"), float("nan"), 2.0**63])
def test_what_is_no_date_ends_no_list(at):
    """Case T2 of the threat table: one such row ended every `device list`."""
    assert dates.utc(at, "%Y-%m-%d") == dates.NO_DATE
    assert dates.local(at, "%Y-%m-%d") == dates.NO_DATE
