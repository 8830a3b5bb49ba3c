"""Collects everything that is wrong with a build before it starts, so that one round names all of it.

Rooms raise as they always do; whoever goes through them takes each error and goes on. Decides nothing.
"""

from collections.abc import Callable
from typing import TypeVar

from skerry_agent.wire.errors import SkerryError
from skerry_host.builder.recipe.errors import ProblemsError, RecipeError

Result = TypeVar("Result")


class Problems:
    """The errors found so far, in order, each once."""

    def __init__(self) -> None:
        self._found: list[SkerryError] = []

    def __len__(self) -> int:
        return len(self._found)

    @property
    def found(self) -> tuple[SkerryError, ...]:
        """All of them."""
        return tuple(self._found)

    @property
    def each(self) -> tuple[SkerryError, ...]:
        """All of them, every issue of a recipe on its own."""
        return tuple(part for error in self._found for part in _apart(error))

    def add(self, error: SkerryError) -> None:
        """One more; the parts of a collection each on its own."""
        for part in error.parts if isinstance(error, ProblemsError) else (error,):
            if str(part) not in map(str, self._found):
                self._found.append(part)

    def take(self, make: Callable[[], Result]) -> Result | None:
        """What `make` returns; None where it raises, and the error is one of these."""
        try:
            return make()
        except SkerryError as error:
            self.add(error)
            return None

    def require(self) -> None:
        """Raise what was found: a single error as it is, several as one `ProblemsError`."""
        if len(self._found) == 1:
            raise self._found[0]
        if self._found:
            raise ProblemsError(self._found)


def _apart(error: SkerryError) -> list[SkerryError]:
    """The issues of a recipe's error as errors of their own: its hint is behind the last."""
    if not isinstance(error, RecipeError):
        return [error]
    last = len(error.issues) - 1
    hints = [error.hint if at == last else "" for at in range(last + 1)]
    return [
        RecipeError(error.where, [issue], hint=hint, code=error.code)
        for issue, hint in zip(error.issues, hints, strict=True)
    ]
