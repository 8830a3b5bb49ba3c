"""Keeps what fails apart: of many that are worked on together, one that fails is undone, noted, and ends no other.

Knows nothing of what is worked on. What concerns all of them, such as a registry that is locked or full, is passed on.
"""

import logging
from collections.abc import Callable
from math import inf

from sqlalchemy.exc import DatabaseError, DataError, IntegrityError
from sqlalchemy.orm import Session

from skerry_host.plane.errors import RegistryError

AGAIN_S = 60.0
"""What has failed is tried again after so long: it may need a person, or a file that comes back."""

log = logging.getLogger(__name__)


class Apart:
    """What has failed, by name, and when it is to be tried again."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._failed: dict[str, float] = {}

    def holds(self, name: str) -> bool:
        """Whether it has failed a moment ago, so that it is not its turn. Either way: the clock may be set back."""
        failed = self._failed.get(name)
        return failed is not None and abs(self._clock() - failed) < AGAIN_S

    @property
    def next_try(self) -> float:
        """When what has failed is to be tried again; infinite for never."""
        return min(self._failed.values(), default=inf) + AGAIN_S

    def work(self, session: Session, name: str, work: Callable[[], object]) -> bool:
        """Do the work of one; False when it failed, and nothing of it is left in the session."""
        if self.holds(name):
            return False
        try:
            with session.begin_nested():
                work()
        except Exception as error:
            if concerns_all(error):
                raise
            self._note(name, error)
            return False
        self._failed.pop(name, None)
        return True

    def ask(self, name: str, question: Callable[[], bool]) -> bool:
        """The answer to a question of one; no when it cannot be answered."""
        if self.holds(name):
            return False
        try:
            return question()
        except Exception as error:
            if concerns_all(error):
                raise
            self._note(name, error)
            return False

    def _note(self, name: str, error: Exception) -> None:
        if name not in self._failed:
            log.error("%s failed, is left out and tried again each minute: %r", name, error, exc_info=error)
        self._failed[name] = self._clock()


def concerns_all(error: Exception) -> bool:
    """Whether an error is of the registry as a whole, not of one of its rows."""
    if isinstance(error, (DataError, IntegrityError)):
        return False
    return isinstance(error, (DatabaseError, RegistryError, OSError, MemoryError))
