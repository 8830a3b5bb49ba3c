"""One thread that does all that may hang in a driver, and is asked with patience. Knows no meter.

A sensor's bus, a firmware's mailbox or a thermal zone may not answer for a long time, and a thread that waits for the
kernel cannot be interrupted. So nobody else reads them: who wants a value waits for this thread a little, and goes on
without it.
"""

import queue
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from skerry_agent import log

T = TypeVar("T")
Job = Callable[[], None]


class Worker:
    """Calls `poll` again and again, and what it is asked for in between."""

    def __init__(self, poll: Job, pause_s: float) -> None:
        self._poll, self._pause_s = poll, pause_s
        self._jobs: queue.SimpleQueue[Job] = queue.SimpleQueue()
        self._asked = threading.Event()
        threading.Thread(target=self._work, name="meters", daemon=True).start()

    def ask(self, call: Callable[[], T], patience_s: float) -> T | None:
        """What a call gives, made in the thread; None when that does not come to it in time, or the call fails.

        While an earlier call is not done, nothing more is waited for.
        """
        if self._asked.is_set():
            return None
        answers: queue.SimpleQueue[T | None] = queue.SimpleQueue()
        self._asked.set()
        self._jobs.put(lambda: self._answer(call, answers))
        try:
            return answers.get(timeout=patience_s)
        except queue.Empty:
            return None

    def _answer(self, call: Callable[[], T], answers: "queue.SimpleQueue[T | None]") -> None:
        value = None
        try:
            value = call()
        finally:
            self._asked.clear()  # before the answer: who has it may ask again at once
            answers.put(value)

    def _work(self) -> None:
        due = time.monotonic() + self._pause_s
        while True:
            try:
                job = self._jobs.get(timeout=max(0.0, due - time.monotonic()))
            except queue.Empty:
                job, due = self._poll, time.monotonic() + self._pause_s
            try:
                job()
            except Exception as error:  # noqa: BLE001 - a driver that gives nonsense must not end the other meters
                log.warning("a meter fails", detail=repr(error))
