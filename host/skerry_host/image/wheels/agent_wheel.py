"""Makes the agent's own wheel out of the agent that is installed here: in a checkout, and from a wheel, alike.

The same agent gives the same bytes. Needs no network and no build backend; compiles nothing, since the agent is Python.
"""

import base64
import hashlib
import io
import re
import zipfile
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path

from skerry_host.image.errors import WheelError
from skerry_host.image.wheels.wheelhouse import Wheel

DISTRIBUTION, PACKAGE = "skerry-agent", "skerry_agent"
_EPOCH = (2020, 1, 1, 0, 0, 0)
_VERSION = re.compile(r'^__version__ = "([^"]+)"', re.MULTILINE)
_VERSION_FIELD = re.compile(r"^Version: .*$", re.MULTILINE)


def agent_wheel(extras: tuple[str, ...]) -> Wheel:
    """The agent's wheel, to be installed with these extras. Raises `WheelError` where there is none to make it of."""
    try:
        installed = distribution(DISTRIBUTION)
    except PackageNotFoundError:
        raise WheelError("skerry-agent is not installed here", hint="install it with skerry-host") from None
    found = find_spec(PACKAGE)
    if found is None or found.origin is None:
        raise WheelError("the agent's package is not in a folder here", hint="install skerry-agent by pip")
    files = _package_files(Path(found.origin).parent)
    version = _version(files[f"{PACKAGE}/__init__.py"].decode())
    info = f"{PACKAGE}-{version}.dist-info"
    metadata = _VERSION_FIELD.sub(f"Version: {version}", _read(installed, "METADATA"), count=1)
    files[f"{info}/METADATA"] = metadata.encode()
    files[f"{info}/entry_points.txt"] = _read(installed, "entry_points.txt").encode()
    files[f"{info}/WHEEL"] = b"Wheel-Version: 1.0\nGenerator: skerry\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    content = _zipped(files, f"{info}/RECORD")
    unpacked = sum(map(len, files.values()))
    sha256 = hashlib.sha256(content).hexdigest()
    return Wheel(f"{PACKAGE}-{version}-py3-none-any.whl", sha256, unpacked, content=content, extras=extras)


def _version(module: str) -> str:
    """What the package says of itself: in a checkout, pip may have installed an older one."""
    found = _VERSION.search(module)
    if found is None:
        raise WheelError("the agent's package says no version", hint="install skerry-agent again by pip")
    return found[1]


def _read(installed: Distribution, name: str) -> str:
    text = installed.read_text(name)
    if text is None:
        raise WheelError(f"the installed skerry-agent has no {name}", hint="install it again by pip", code="agent")
    return text


def _package_files(folder: Path) -> dict[str, bytes]:
    """Every file of the package but what Python compiles, by its path in the wheel."""
    paths = [path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    return {f"{PACKAGE}/{path.relative_to(folder).as_posix()}": path.read_bytes() for path in paths}


def _zipped(files: dict[str, bytes], record: str) -> bytes:
    """As a wheel: sorted, of one date, with a RECORD of all hashes."""
    lines = [f"{name},sha256={_urlsafe(data)},{len(data)}\n" for name, data in sorted(files.items())]
    everything = {**dict(sorted(files.items())), record: "".join([*lines, f"{record},,\n"]).encode()}
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in everything.items():
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.external_attr, entry.compress_type = 0o644 << 16, zipfile.ZIP_DEFLATED
            archive.writestr(entry, data)
    return made.getvalue()


def _urlsafe(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode().rstrip("=")
