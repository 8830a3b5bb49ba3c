"""What can be wrong with a build.

SkerryError
├── RecipeError      the recipe, or data that it names: every issue at once
├── ModelError       the source model cannot be used
├── OutputError      the build cannot be written
├── ProblemsError    several of these, found in one round
└── BuildRefused     the int8 model misses a gate: every reason at once
"""

from collections.abc import Mapping, Sequence

from skerry_agent.wire.errors import SkerryError
from skerry_agent.wire.plain_text import visible


class RecipeError(SkerryError):
    """A recipe or its data is wrong; `issues` lists everything that was found."""

    code = "recipe"
    exit_code = 2

    def __init__(self, where: str, issues: Sequence[str], *, hint: str = "", code: str | None = None) -> None:
        self.where, self.issues = where, tuple(issues)
        super().__init__(f"{where}: {'; '.join(self.issues)}", hint=hint, code=code)

    def facts(self) -> dict[str, object]:
        """With every issue."""
        return {**super().facts(), "issues": self.issues}


class ModelError(SkerryError):
    """A source model cannot be read, run or quantized."""

    code = "model"
    exit_code = 2


class OutputError(SkerryError):
    """The folder of a build cannot be written."""

    code = "output"
    exit_code = 2


class ProblemsError(SkerryError):
    """Several things are wrong with a build, found in one round: `parts` are their errors, `issues` one line each."""

    code = "problems"

    def __init__(self, parts: Sequence[SkerryError]) -> None:
        self.parts = tuple(parts)
        self.issues = tuple(map(str, self.parts))
        self.exit_code = max(part.exit_code for part in self.parts)
        super().__init__(f"{len(self.parts)} problems: {'; '.join(self.issues)}")

    def facts(self) -> dict[str, object]:
        """With each problem on its own."""
        return {**super().facts(), "issues": self.issues, "problems": [part.facts() for part in self.parts]}


class BuildRefused(SkerryError):  # noqa: N818  (a verdict, not a fault)
    """The build was made and misses gates: nothing was written; `reasons` lists them, `report` is the HTML page.

    `measured` is what a machine may want of it: gates, quality and layers. `search`: each setting that was tried and
    what it gave, a line each.
    """

    code = "refused"
    exit_code = 1

    def __init__(
        self, what: str, reasons: Sequence[str], report: str, measured: Mapping[str, object], search: Sequence[str] = ()
    ) -> None:
        self.reasons = tuple(reasons)
        self.report = report
        self.measured = dict(measured)
        self.search = tuple(search)
        self.report_file: str | None = None
        super().__init__(f"build of {what} refused: {'; '.join(self.reasons)}", hint=_NO_REPORT)

    def reported(self, file: str) -> None:
        """Note where its report was written."""
        self.report_file, self.hint = file, visible(f"its report is {file}")

    def facts(self) -> dict[str, object]:
        """With every reason, what was tried and measured, and where the report is (None where nobody asked for it)."""
        own = {"issues": self.reasons, "search": self.search, "report": self.report_file}
        return {**super().facts(), **own, **self.measured}


_NO_REPORT = "--report FILE also writes its report"
