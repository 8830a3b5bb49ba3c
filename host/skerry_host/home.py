"""The home: the folder where one host keeps its state. Paths, and making the folder; does not touch the files in it."""

import os
from dataclasses import dataclass
from pathlib import Path

from skerry_agent.wire.errors import SkerryError
from skerry_host.release import keys

DEFAULT = ".skerry"
VARIABLE = "SKERRY_HOME"


class HomeError(SkerryError):
    """The host's folder is not there, or cannot be made."""

    code = "home"
    exit_code = 2


@dataclass(frozen=True, slots=True)
class Home:
    """The paths of a host's state, all under `root`."""

    root: Path

    @property
    def store(self) -> Path:
        """The content-addressed store of releases."""
        return self.root / "store"

    @property
    def keys(self) -> Path:
        """Private signing keys, for their owner only."""
        return self.root / "keys"

    @property
    def identity(self) -> Path:
        """The fleet's certificate authority (`identity`); absent until something needs a certificate."""
        return self.root / "identity"

    @property
    def registry(self) -> Path:
        """The SQLite database of devices, groups and rollouts."""
        return self.root / "registry.sqlite"

    @property
    def broker(self) -> Path:
        """Configuration and data of a broker that the host starts itself."""
        return self.root / "broker"

    @property
    def chunk_limit(self) -> Path:
        """The largest chunk that the broker passed on when it was tried last, in bytes; absent where all pass."""
        return self.root / "chunk_limit"

    @property
    def wheels(self) -> Path:
        """Wheels for boards, fetched once; all of it may be deleted."""
        return self.root / "wheels"

    @property
    def devices(self) -> Path:
        """What `device provision` writes, one folder per device."""
        return self.root / "devices"


def home_at(path: Path | None = None) -> Home:
    """The home at `path`, else at $SKERRY_HOME, else at ./.skerry. It need not exist."""
    return Home((path or Path(os.environ.get(VARIABLE) or DEFAULT)).expanduser().absolute())


def open_home(path: Path | None = None) -> Home:
    """Like `home_at`, for a home that was initialised; raises `HomeError` where it was not."""
    home = home_at(path)
    if not home.keys.is_dir():
        raise HomeError(f"{home.root} is not a Skerry home", hint="run `skerry init`, or set SKERRY_HOME or --home")
    return home


def init_home(path: Path | None = None) -> Home:
    """Make the folders and the signing keys; what exists already is kept. Raises `HomeError` when it cannot."""
    home = home_at(path)
    try:
        for folder in (home.root, home.store, home.broker, home.devices):
            folder.mkdir(parents=True, exist_ok=True)
        keys.load_or_create(home.keys)
    except OSError as error:
        raise HomeError(
            f"cannot make {home.root}: {error.strerror}", hint="choose another folder with --home"
        ) from None
    return home
