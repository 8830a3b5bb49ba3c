"""A lock that those who wait get in the order in which they came; at a `threading.Lock` some may wait for ever."""

import threading
from collections import deque


class Turns:
    """A context manager; not to be entered twice by one thread."""

    def __init__(self) -> None:
        self._taken = threading.Lock()
        self._mine = threading.Lock()  # of what follows, and to let go of `_taken`
        self._waiting: deque[threading.Lock] = deque()

    def __enter__(self) -> None:
        if self._taken.acquire(blocking=False):
            return
        with self._mine:
            if self._taken.acquire(blocking=False):
                return
            turn = threading.Lock()
            turn.acquire()
            self._waiting.append(turn)
        turn.acquire()  # whoever leaves lets go of this, and of `_taken` only when nobody waits

    def __exit__(self, *_: object) -> None:
        with self._mine:
            if self._waiting:
                self._waiting.popleft().release()
            else:
                self._taken.release()
