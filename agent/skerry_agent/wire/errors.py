"""The error family of everything that crosses the wire.

    SkerryError          code, message, hint: one line each
    └── WireError        a message that is refused, with every issue that was found in it

Other modules of the agent and the host derive their own families from `SkerryError`; only a command line
turns one into an exit code.
"""

from collections.abc import Iterable

from skerry_agent.wire.plain_text import visible


class SkerryError(Exception):
    """Something is wrong, says what, and what to do about it.

    `code` is stable and machine readable, `message` is one line for a person, `hint` says what to do. A command line
    ends with `exit_code`: 2 for the user's mistake, 1 for a failure.
    """

    code = "error"
    exit_code = 1

    def __init__(self, message: str, *, hint: str = "", code: str | None = None) -> None:
        self.message, self.hint = visible(message), visible(hint)
        super().__init__(self.message)
        if code is not None:
            self.code = code

    def facts(self) -> dict[str, object]:
        """The same for a machine; families add what they know: `issues`, each on its own."""
        return {"code": self.code, "message": self.message, "hint": self.hint or None}

    def __str__(self) -> str:
        return f"{self.message}; {self.hint}" if self.hint else self.message


class WireError(SkerryError):
    """A message is refused. `issues` lists everything that is wrong with it, each with its path."""

    code = "malformed"

    def __init__(self, what: str, issues: Iterable[str], *, hint: str = "", code: str | None = None) -> None:
        self.issues = tuple(map(visible, issues))
        super().__init__(f"{what} refused: {'; '.join(self.issues)}", hint=hint, code=code)

    def facts(self) -> dict[str, object]:
        """With every issue."""
        return {**super().facts(), "issues": self.issues}
