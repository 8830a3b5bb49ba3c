"""Acts on several devices one by one: on all that it can, and the rest is listed with reasons. Orders nothing itself.

An order for many must not fail because of one, least of all in an emergency. Only when none can is it an error.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

from msgspec import Struct

from skerry_agent.wire.errors import SkerryError
from skerry_host.fleet.errors import FleetError

PARTIAL = 3
"""The exit status of a command that has acted on some of its devices and not on others."""

K = TypeVar("K")
T = TypeVar("T")


class Refusal(Struct, frozen=True):
    """Why nothing was done for one device."""

    device: str
    code: str
    reason: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Several(Generic[T]):
    """What was done, by device, and for which devices it could not be."""

    done: dict[str, T]
    refused: tuple[Refusal, ...] = ()

    @property
    def exit_code(self) -> int:
        """0 if it was done for all."""
        return PARTIAL if self.refused else 0


class NoneCanError(FleetError):
    """None of several devices can do what was asked; `refused` says why of each."""

    code = "none_can"

    def __init__(self, what: str, refused: tuple[Refusal, ...]) -> None:
        self.refused = refused
        first = refused[0]
        named = f"{first.device}: {first.reason}"
        rest = f", and {len(refused) - 1} more" if len(refused) > 1 else ""
        super().__init__(f"{what} for none of {len(refused)} devices ({named}{rest})", hint=first.hint)

    def facts(self) -> dict[str, object]:
        """With the reason of each."""
        return {**super().facts(), "refused": self.refused}


def refusal(device: str, error: SkerryError) -> Refusal:
    """An error as the reason of one device."""
    return Refusal(device, error.code, error.message, error.hint)


def for_each(
    what: str, items: Iterable[K], name: Callable[[K], str], act: Callable[[K], T], before: Iterable[Refusal] = ()
) -> Several[T]:
    """Act on each item; `before` are refusals that are known already.

    Raises the error itself where there is one item and it fails, and `NoneCanError` where several do and none works.
    """
    done: dict[str, T] = {}
    refused, errors = list(before), []
    for item in items:
        try:
            done[name(item)] = act(item)
        except SkerryError as error:
            refused.append(refusal(name(item), error))
            errors.append(error)
    if not done and len(refused) == 1 and errors:
        raise errors[0]
    if not done and refused:
        raise NoneCanError(what, tuple(refused))
    return Several(done, tuple(refused))
