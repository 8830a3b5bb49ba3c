"""The manifest of a wheelhouse release: a runtime, or the agent itself, as one wheelhouse for each machine and Python.

Signed by the release key under a payload type of its own (`envelope.RUNTIME`), so that no manifest of a model can pass
as one. A wheelhouse travels as one uncompressed tar: `requirements.txt`, which pins every wheel by its hash, and the
wheels. Holds data only: the host makes and checks them (`skerry_host.release`), the updater installs them.
"""

import re
from typing import Annotated, Final, Literal

from msgspec import Meta, Struct

from skerry_agent.wire.blobs import BlobRef
from skerry_agent.wire.errors import WireError
from skerry_agent.wire.names import Count, ModelName, ReleaseName, Version, release_name

BASE: Final = "base"
"""What people call the runtime of the base environment, which no manifest names; so no release has this name."""
REQUIREMENTS: Final = "requirements.txt"
MAX_FILES: Final = 64
"""Of a wheelhouse, `requirements.txt` included."""
AGENT_DISTRIBUTION: Final = "skerry-agent"
OF_THE_AGENT: Final = frozenset({AGENT_DISTRIBUTION, "msgspec", "paho-mqtt", "cryptography", "zstandard", "h11"})
"""Distributions that the agent is made of: a runtime may not bring them, for it comes before them on the path."""

Kind = Literal["runtime", "agent"]
Machine = Annotated[str, Meta(pattern=r"^[a-z0-9_]{1,32}\Z")]
PythonTag = Annotated[str, Meta(pattern=r"^cp3[0-9]{1,2}\Z")]
GlibcVersion = Annotated[str, Meta(pattern=r"^(2\.[0-9]{1,2})?\Z")]
Distribution = Annotated[str, Meta(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*\Z", max_length=100)]
Module = Annotated[str, Meta(pattern=r"^[A-Za-z_][A-Za-z0-9_]*\Z", max_length=100)]

_WHEEL = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+!-]{0,240}\.whl")


class Wheelhouse(Struct, frozen=True):
    """What one machine and Python installs. `distributions` are those in it, by normalised name, with their versions.

    `glibc` is the lowest version that all of its wheels run with, empty where none needs a certain one. `imports` are
    the modules that a probe imports. `installed_bytes` is what it takes on a disk once it is installed.
    """

    machine: Machine
    python: PythonTag
    artifact: BlobRef
    distributions: Annotated[dict[Distribution, str], Meta(min_length=1, max_length=MAX_FILES)]
    glibc: GlibcVersion = ""
    imports: Annotated[tuple[Module, ...], Meta(max_length=MAX_FILES)] = ()
    installed_bytes: Count = 0

    @property
    def tag(self) -> str:
        """`cp311-aarch64`: what folders are named by."""
        return f"{self.python}-{self.machine}"


class RuntimeManifest(Struct, frozen=True):
    """A release of a runtime, or of the agent: a wheelhouse for each machine and Python that may install it."""

    kind: Kind
    name: ModelName
    version: Version
    created: str
    wheelhouses: Annotated[tuple[Wheelhouse, ...], Meta(min_length=1, max_length=16)]
    notes: str = ""

    @property
    def full_name(self) -> ReleaseName:
        """`name@version`."""
        return release_name(self.name, self.version)

    def find(self, machine: str, python: str) -> Wheelhouse | None:
        """The wheelhouse of a machine and a Python tag (`cp311`)."""
        return next((each for each in self.wheelhouses if (each.machine, each.python) == (machine, python)), None)

    def wheelhouse(self, machine: str, python: str) -> Wheelhouse:
        """The same; raises `WireError` (`no_wheelhouse`) that lists those there are."""
        found = self.find(machine, python)
        if found is not None:
            return found
        there = ", ".join(f"{each.python} on {each.machine}" for each in self.wheelhouses)
        issue = f"has no wheelhouse for {python} on {machine} (it has {there})"
        raise WireError(f"{self.kind} {self.full_name}", [issue], code="no_wheelhouse")


def kind_issue(kind: Kind, distributions: frozenset[str]) -> str | None:
    """Why these distributions cannot be a release of that kind; None if they can."""
    if kind == "agent":
        return None if AGENT_DISTRIBUTION in distributions else f"an agent's wheelhouse must hold {AGENT_DISTRIBUTION}"
    foreign = sorted(distributions & OF_THE_AGENT)
    if foreign:
        return f"a runtime may not bring {', '.join(foreign)}: the agent is made of it, and the runtime comes before it"
    return None


def is_file_name(name: str) -> bool:
    """Whether a file of this name may lie in a wheelhouse: `requirements.txt`, or a wheel."""
    return name == REQUIREMENTS or _WHEEL.fullmatch(name) is not None


def older_glibc(here: str, needed: str) -> bool:
    """Whether this system's glibc (`2.31`) is older than what is needed; False where either is not known."""
    return bool(here and needed) and _numbers(here) < _numbers(needed)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())
