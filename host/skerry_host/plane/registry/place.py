"""Where a home's registry is: in the home itself (SQLite), or at a database URL that the home remembers. Opens nothing.

A URL may hold a password, so it is kept in a file for its owner only; libpq's own ways to give one ($PGPASSFILE,
~/.pgpass) work too, and keep it out of the URL.
"""

import os
import re
from pathlib import Path
from urllib.parse import urlsplit

from skerry_host.files import write_atomic
from skerry_host.home import Home
from skerry_host.plane.errors import RegistryUrlError

VARIABLE = "SKERRY_REGISTRY"
FILE = "registry.url"
FORMS = "postgresql://USER[:PASSWORD]@HOST[:PORT]/DATABASE, or sqlite:////ABSOLUTE/PATH"
_SECRET = re.compile(r"(password=)[^&\s]*")
_POSTGRESQL = {"postgresql", "postgres", "postgresql+psycopg"}
DRIVER = "postgresql+psycopg"


def checked(url: str) -> str:
    """A database URL as SQLAlchemy takes it; raises `RegistryUrlError` that shows the forms."""
    scheme, separator, rest = url.partition("://")
    if separator and scheme in _POSTGRESQL and _names_a_database(url):
        return f"{DRIVER}://{rest}"
    if separator and scheme == "sqlite" and re.match(r"/(/|~/).", rest):
        return f"sqlite:///{Path(rest[1:]).expanduser().absolute()}"
    encoded = "; in a password %40 stands for @, %2F for /, %3A for :" if "@" in url else ""
    raise RegistryUrlError(f"{shown(url)!r} is no registry", hint=f"write {FORMS}{encoded}")


def shown(url: str) -> str:
    """The URL without its passwords, also where it is none, and without the driver that nobody wrote."""
    plain = _SECRET.sub(r"\1***", url.replace(f"{DRIVER}://", "postgresql://", 1))
    head, separator, rest = plain.rpartition("://")
    before, at, after = rest.rpartition("@")
    user, colon, _ = before.partition(":")
    return plain if head == "sqlite" or not colon else f"{head}{separator}{user}:***{at}{after}"


def has_password(url: str) -> bool:
    """Whether it names one."""
    return "***" in shown(url)


def chosen(home: Home) -> Path | str:
    """The registry of $SKERRY_REGISTRY, else of the home: a URL as SQLAlchemy takes it, or the path of its database."""
    given = os.environ.get(VARIABLE)
    if given:
        return checked(given)
    url = remembered(home)
    return checked(url) if url else home.registry


def require_file(where: Path | str) -> None:
    """Raises `RegistryUrlError` where a URL names an SQLite file that is not there; a home makes its own."""
    if isinstance(where, str) and where.startswith("sqlite:///") and not Path(where[10:]).exists():
        raise RegistryUrlError(f"there is no registry at {where}", hint=f"`skerry init --registry {where}` makes one")


def remembered(home: Home) -> str | None:
    """The URL that the home remembers; None where its registry is its own."""
    try:
        return (home.root / FILE).read_text(encoding="utf-8").strip() or None
    except FileNotFoundError:
        return None


def remember(home: Home, url: str) -> None:
    """Make this the home's registry from now on. Raises `RegistryUrlError`, `OSError`."""
    write_atomic(home.root / FILE, f"{checked(url)}\n".encode(), mode=0o600)


def _names_a_database(url: str) -> bool:
    """Whether it has a host, or a socket's folder as `?host=`, and a database."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return False
    whose = parts.netloc.count("@") <= 1  # libpq ends a password at the first, urlsplit at the last
    return whose and bool(parts.hostname or "host=" in parts.query) and len(parts.path) > 1 and port != 0
