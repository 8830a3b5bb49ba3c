"""Clocks that were never set or jump while a transfer is under way: neither too early an end nor none."""

import pytest
from msgspec.structs import replace

from skerry_agent.machine import events
from skerry_agent.wire import codec
from skerry_agent.wire.blobs import MAX_CHUNKS, BlobRef
from skerry_agent.wire.errors import WireError
from tests.kit.clock import FakeClock
from tests.kit.unit import Device, order

YEARS_S = 10 * 365 * 86400.0
DEADLINE_S = 600.0


class JumpyClock(FakeClock):
    """A monotonic clock, and a wall clock that somebody sets."""

    def __init__(self, wall):
        super().__init__()
        self.offset = wall - self.now

    def wall(self):
        return self.now + self.offset


def fetching(tmp_path, wall):
    """A device that fetches what never comes, ordered when its clock showed `wall`."""
    device = Device(tmp_path)
    device.link.retained.clear()
    device.clock = JumpyClock(wall)
    device.boot()
    device.unit.handle(events.Ordered(replace(order("1.0.0", 1, deadline_s=DEADLINE_S), ordered_at=wall)))
    return device


NOW = 1_800_000_000.0


@pytest.mark.parametrize("jump", [YEARS_S, -YEARS_S, 86400.0, -86400.0])
def test_a_jump_neither_ends_nor_prolongs_a_fetch(tmp_path, jump):
    device = fetching(tmp_path, NOW)
    device.clock.advance(DEADLINE_S / 2)
    device.clock.offset += jump
    assert device.deployment.outcome is None
    device.clock.advance(DEADLINE_S / 2 + 1)
    assert device.deployment.outcome == "timed_out"


@pytest.mark.parametrize("jump", [YEARS_S * 5, -YEARS_S])
def test_a_restart_with_a_clock_that_was_set_meanwhile_does_not_end_it(tmp_path, jump):
    device = fetching(tmp_path, 100.0 if jump > 0 else NOW)
    device.clock.offset += jump
    device.unit.shut_down()
    device.boot()
    assert device.deployment.outcome is None
    device.clock.advance(DEADLINE_S + 1)
    assert device.deployment.outcome == "timed_out"


def test_a_restart_does_not_give_more_time(tmp_path):
    device = fetching(tmp_path, NOW)
    device.clock.advance(DEADLINE_S - 10)
    device.unit.shut_down()
    device.boot()
    device.clock.advance(11)
    assert device.deployment.outcome == "timed_out"


@pytest.mark.parametrize(("size", "chunk_bytes"), [(MAX_CHUNKS * 1024 + 1, 1024), (10**9, 1024), (1, 1)])
def test_a_blob_of_too_many_chunks_is_refused_unread(size, chunk_bytes):
    raw = codec.encode({"sha256": "0" * 64, "size": size, "chunk_bytes": chunk_bytes})
    with pytest.raises(WireError):
        codec.decode(raw, BlobRef)
