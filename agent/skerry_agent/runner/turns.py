"""A lock that those who wait get in the order in which they came; at a `threading.Lock` some may wait for ever."""

import threading
from collections import deque


class Turns:
    """A context manager; not to be entered twice by one thread."""

    def __init__(self) -> None:
        self._mine = threading.Lock()  # of what follows
        self._taken = False
        self._waiting: deque[threading.Lock] = deque()

    def __enter__(self) -> None:
        with self._mine:
            if not self._taken:
                self._taken = True
                return
            turn = threading.Lock()
            turn.acquire()
            self._waiting.append(turn)
        turn.acquire()

    def __exit__(self, *_: object) -> None:
        with self._mine:
            if self._waiting:
                self._waiting.popleft().release()
            else:
                self._taken = False
