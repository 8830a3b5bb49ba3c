"""The real wheels of a board, fetched once into .venv/wheels; without an index, tests are skipped. No tests here."""

import os
import platform
import sys
from pathlib import Path

import pytest

from skerry_host.home import Home
from skerry_host.image.errors import WheelError
from skerry_host.image.wheels import Wheelhouse
from skerry_host.image.wheels.choose import Sources, extras_of, wheelhouse
from skerry_host.systems import System, list_systems, load_system
from tests.kit.images import here
from tests.kit.programs import ROOT

KEPT = ROOT / ".venv" / "wheels"
PYTHON = f"{sys.version_info[0]}.{sys.version_info[1]}"


def system_here() -> System:
    """An operating system with the Python that runs this, for this machine."""
    for system in map(load_system, list_systems()):
        if system.python == PYTHON and platform.machine() in system.arches:
            return system
    pytest.skip(f"no operating system is known with Python {PYTHON}")


def real_wheels() -> Wheelhouse:
    """Those of the board `here`, for this Python."""
    KEPT.mkdir(exist_ok=True)
    try:
        return wheelhouse(here(), [system_here()], extras_of(here()), Sources(KEPT))
    except WheelError as error:
        pytest.skip(f"no wheels: {error}")


def with_wheels(home: Home) -> Home:
    """The home keeps its wheels where all tests have them."""
    real_wheels()
    if not home.wheels.exists():
        home.wheels.symlink_to(KEPT)
    return home


def nowhere() -> dict[str, str]:
    """An environment in which pip reaches no index."""
    return {"PIP_CONFIG_FILE": os.devnull, "PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_FIND_LINKS": ""}


def reached(folder: Path) -> list[str]:
    """The wheels of an image folder."""
    return sorted(path.name for path in (folder / "wheels").glob("*.whl"))
