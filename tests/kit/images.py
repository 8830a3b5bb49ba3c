"""Image folders without a network: wheels that hold nothing, and a Python that only pretends. No tests here."""

import hashlib
import io
import os
import platform
import subprocess
import zipfile
from pathlib import Path

from skerry_host.boards import Board, load_board
from skerry_host.image.folder import write_folder
from skerry_host.image.parts import image_files
from skerry_host.image.request import PRIVATE, PUBLIC, Factory, ImageRequest, Ordered
from skerry_host.image.wheels import Wheel, Wheelhouse
from skerry_host.systems import load_system

MACHINE = platform.machine()
IDENTITY = {
    "agent.toml": ('[device]\nid = "edge-1"\n[agent]\nstate_dir = "state"  # here\nfactory = "factory"\n', PRIVATE),
    "trust.json": ("{}\n", PUBLIC),
    "fleet-ca.pem": ("the fleet's\n", PUBLIC),
    "claim.pem": ("a claim\n", PUBLIC),
    "claim.key": ("its key\n", PRIVATE),
}
FAKE_PYTHON = """#!/bin/sh
# Says that it is some Python, makes an environment out of itself, and imports whatever it is told to.
version='{version}'
case "$1 $2" in
    "-c import struct"*) echo "$version"; exit 0 ;;
    "-m venv") mkdir -p "$4/bin"; cp "$0" "$4/bin/python"; exit 0 ;;
    *"/pip install") {pip}
        printf '#!/bin/sh\\necho skerry-agent, version 0.1.0\\n' >"${{0%/*}}/skerry-agent"
        chmod +x "${{0%/*}}/skerry-agent"; exit 0 ;;
    "-c import "*) {imports}
        exit 0 ;;
esac
"""


def zipped(files: dict[str, bytes]) -> bytes:
    """A zip file."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    return made.getvalue()


def wheel(file: str, content: bytes | None = None) -> Wheel:
    """A wheel that holds nothing."""
    content = zipped({"nothing": b""}) if content is None else content
    return Wheel(file, hashlib.sha256(content).hexdigest(), 0, content=content)


def here() -> Board:
    """A board of this machine's architecture."""
    return load_board("generic-x86" if MACHINE == "x86_64" else "raspberry-pi-4")


def request(wheels: tuple[Wheel, ...] = (), factories: tuple[Factory, ...] = (), **more) -> ImageRequest:
    """An image for this machine."""
    wheels = wheels or (wheel("pip-26.3-py3-none-any.whl"),)
    wheelhouse = Wheelhouse(MACHINE, ("3.11",), wheels, ("litert",))
    ordered = Ordered((load_system("debian-12"),), wheelhouse, factories)
    said = {"device": "edge-1", "claim": "@claim-1", "expires": 4e9} | more
    return ImageRequest(here(), ordered, IDENTITY, "mqtts://host.example:8883", 1796033971.0, **said)


def image(folder: Path, **more) -> Path:
    """Write one."""
    write_folder(folder, image_files(request(**more)), folder.with_name("before"))
    return folder


def fake_python(folder: Path, version: str = "3.11 64", pip: str = ":", imports: str = ":") -> Path:
    """A program; `pip` and `imports` are what its shell does then."""
    folder.mkdir(parents=True, exist_ok=True)
    made = folder / "python"
    made.write_text(FAKE_PYTHON.format(version=version, pip=pip, imports=imports))
    made.chmod(0o755)
    return made


def first_boot(folder: Path, root: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run first-boot.sh of a folder, for a board whose disk is `root`."""
    root.mkdir(exist_ok=True)
    given = {"PATH": os.environ["PATH"], "SKERRY_ROOT": str(root)} | environment
    return subprocess.run(
        ["sh", str(folder / "first-boot.sh")],
        env=given, capture_output=True, text=True, check=False, timeout=120, start_new_session=True,
    )  # fmt: skip


def tree(root: Path) -> dict[str, bytes | str]:
    """All files below a folder, links as where they lead."""
    found = sorted(path for path in root.rglob("*") if path.is_symlink() or path.is_file())
    return {
        str(path.relative_to(root)): str(path.readlink()) if path.is_symlink() else path.read_bytes() for path in found
    }
