"""Keeps the log short, however often something happens: a line that repeats is counted, a flood is cut. Pure.

Of a line that repeats the first is written, then how often it came again: after a minute, and as long as it goes on
after twice as long each time, up to an hour. Of different lines a burst is written, then some a minute; how many were
left out is said. Times are seconds of a clock that never goes back.
"""

FIRST_WINDOW_S, LAST_WINDOW_S = 60.0, 3600.0
MOST_KNOWN = 100
"""Different lines that are watched for repeats at once; the oldest gives way."""

BURST = 300
REFILL_S = 2.0
"""So many lines may come at once, and one more for each of these."""


class _Repeated:
    __slots__ = ("count", "ends", "window_s")

    def __init__(self, now: float) -> None:
        self.count, self.window_s, self.ends = 0, FIRST_WINDOW_S, now + FIRST_WINDOW_S

    def go_on(self, now: float) -> None:
        self.window_s = min(LAST_WINDOW_S, 2 * self.window_s)
        self.count, self.ends = 0, now + self.window_s


class Limits:
    """What may be written: `take` a line and get those to write now, `due` when time has passed. A line has a level."""

    def __init__(self, now: float) -> None:
        self._known: dict[tuple[int, str], _Repeated] = {}
        self._tokens, self._filled_at = float(BURST), now
        self._left_out = 0

    def take(self, level: int, line: str, now: float) -> list[tuple[int, str]]:
        """The lines to write, oldest first: none if this one is only counted."""
        written = self.due(now)
        known = self._known.get((level, line))
        if known is not None:
            known.count += 1
            return written
        if len(self._known) >= MOST_KNOWN:
            for summary in self._end(next(iter(self._known))):  # a flood of pairs would be as long as one of lines
                written += self._afforded(*summary, now)
        self._known[level, line] = _Repeated(now)
        return [*written, *self._afforded(level, line, now)]

    def due(self, now: float) -> list[tuple[int, str]]:
        """What is to be said of repeated lines by now."""
        written: list[tuple[int, str]] = []
        for key, known in list(self._known.items()):
            if now < known.ends:
                continue
            written += _summary(key, known)
            if known.count:
                known.go_on(now)
            else:
                del self._known[key]
        return written

    def rest(self) -> list[tuple[int, str]]:
        """All that was counted and not said yet."""
        written = [line for key in list(self._known) for line in self._end(key)]
        return [*written, *self._cut()]

    def _end(self, key: tuple[int, str]) -> list[tuple[int, str]]:
        return _summary(key, self._known.pop(key))

    def _afforded(self, level: int, line: str, now: float) -> list[tuple[int, str]]:
        self._tokens = min(float(BURST), self._tokens + (now - self._filled_at) / REFILL_S)
        self._filled_at = now
        if self._tokens < 1:
            self._left_out += 1
            return []
        self._tokens -= 1
        return [*self._cut(), (level, line)]

    def _cut(self) -> list[tuple[int, str]]:
        left_out, self._left_out = self._left_out, 0
        return [(WARNING, f"{left_out} lines were left out, because too many came at once")] if left_out else []


WARNING = 30


def _summary(key: tuple[int, str], known: _Repeated) -> list[tuple[int, str]]:
    times = "once more" if known.count == 1 else f"{known.count} times"
    return [(key[0], f"{key[1]} (repeated {times} in {known.window_s / 60:g} min)")] if known.count else []
