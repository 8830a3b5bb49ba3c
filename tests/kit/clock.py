"""Time that a test turns by hand."""

import heapq
import itertools


class FakeTimer:
    def __init__(self, call):
        self.call = call

    def cancel(self):
        self.call = None


class FakeClock:
    """Time stands still until `advance`."""

    def __init__(self):
        self.now = 1000.0
        self._timers = []
        self._order = itertools.count()

    def monotonic(self):
        return self.now

    def wall(self):
        return self.now + 1_700_000_000

    def after(self, seconds, call):
        timer = FakeTimer(call)
        heapq.heappush(self._timers, (self.now + seconds, next(self._order), timer))
        return timer

    def advance(self, seconds):
        end = self.now + seconds
        while self._timers and self._timers[0][0] <= end:
            due, _, timer = heapq.heappop(self._timers)
            self.now = max(self.now, due)
            if timer.call is not None:
                timer.call()
        self.now = end
