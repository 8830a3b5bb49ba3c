"""What works with an Edge TPU, by board, system, Python, runtime and driver: a rule over firmware_configs/coral.toml.

Knows what is publicly known, and says who has said it. Looks at no file but that table and at no machine.
"""

import re
from functools import cache
from typing import Annotated, Final, Literal

from msgspec import Meta, Struct

from skerry_agent.wire import codec
from skerry_agent.wire.admission import below, numbers
from skerry_host.firmware import firmware_file

Verdict = Literal["edgetpu works", "ends on the CPU", "crashes", "does not start", "unknown"]
WORKS: Final = "edgetpu works"
UNKNOWN: Final = "unknown"
NONE, VENDOR, BUILT = "none", "vendor", "built"
Text = Annotated[str, Meta(min_length=10)]


class RuntimeRange(Struct, frozen=True, forbid_unknown_fields=True, rename={"least": "from", "most": "to"}):
    """Versions of one distribution, both ends included; `to` 2.16 takes 2.16.1 too."""

    name: Literal["tflite-runtime", "ai-edge-litert"]
    least: str = ""
    most: str = ""

    def holds(self, name: str, version: str) -> bool:
        """Whether a runtime is one of these."""
        within = not self.most or not below(self.most, ".".join(map(str, numbers(version)[: len(numbers(self.most))])))
        return name == self.name and not below(version, self.least) and within


class Row(Struct, frozen=True, forbid_unknown_fields=True):
    """What is known of some combinations, why, what to take instead, and who says so."""

    verdict: Verdict
    why: Text
    source: Text
    boards: tuple[str, ...] = ()
    systems: tuple[str, ...] = ()
    pythons: tuple[str, ...] = ()
    runtime: RuntimeRange | None = None
    driver: Annotated[str, Meta(pattern=r"^(none|vendor|built|TF2\.[0-9]+\.[0-9]+|)\Z")] = ""
    take: str = ""


class Combination(Struct, frozen=True):
    """What a board would have. `driver` as in the table, `none` or `vendor` or `TF2.16.1`; a runtime by its version."""

    board: str
    system: str
    python: str
    runtime: str
    version: str
    driver: str = NONE


class _Table(Struct, frozen=True, forbid_unknown_fields=True):
    schema: Literal[1]
    row: tuple[Row, ...]


NOTHING_KNOWN = Row(UNKNOWN, "nothing is known of this combination", "no row of firmware_configs/coral.toml fits")


@cache
def rows() -> tuple[Row, ...]:
    """The table. Raises `SkerryError` where this installation has none, `WireError` where it is wrong."""
    return codec.convert(codec.parse_toml(firmware_file("coral.toml").read_bytes()), _Table).row


def known(of: Combination, table: tuple[Row, ...] | None = None) -> Row:
    """The first row that fits."""
    return next((row for row in table or rows() if _fits(row, of)), NOTHING_KNOWN)


def driver_kind(version: str, tflite: str) -> str:
    """The driver as the table names it, by its own version and the TensorFlow that it was built for, if it says so."""
    if tflite:
        return f"TF{tflite}"
    return VENDOR if version and not below("16.0", version) else BUILT


def tflite_of(version: str) -> str:
    """The TensorFlow that a Debian package of libedgetpu was built for: 2.17.1 of `16.0tf2.17.1-1.bookworm`."""
    found = re.search(r"tf-?([0-9]+\.[0-9]+\.[0-9]+)", version, re.IGNORECASE)
    return found[1] if found else ""


def _fits(row: Row, of: Combination) -> bool:
    """An empty part of a row fits everything."""
    named = (row.boards, of.board), (row.systems, of.system), (row.pythons, of.python)
    if any(names and name not in names for names, name in named):
        return False
    if row.runtime is not None and not row.runtime.holds(of.runtime, of.version):
        return False
    built = of.driver == BUILT or of.driver.startswith("TF")
    return row.driver in {"", of.driver} or (row.driver == BUILT and built)
