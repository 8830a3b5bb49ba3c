"""What can be wrong with a fleet's description.

SkerryError
└── FleetError        a device, group or policy that cannot be used as it stands
    └── WhereError    a selection that does not parse, with the place where it stops
"""

from skerry_agent.wire.errors import SkerryError


class FleetError(SkerryError):
    """A fleet is described in a way that cannot be used: the user's mistake."""

    code = "fleet"
    exit_code = 2


class WhereError(FleetError):
    """A `--where` selection does not parse; `position` is the offset of the first character that does not fit."""

    code = "where"

    def __init__(self, text: str, position: int, expected: str, example: str) -> None:
        self.position = position
        found = repr(text[position : position + 12]) if position < len(text) else "its end"
        super().__init__(
            f"the selection {text!r} does not parse at character {position + 1} ({found}): expected {expected}",
            hint=f"write for instance: {example}",
        )
