"""What makes or moves keys, ended at any system call or with any of them failing: nothing is half done.

`ALL_POINTS=1` tries every call; else a few of each.
"""

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from skerry_host.identity import custody, key_files
from skerry_host.identity.authority import Authority
from skerry_host.identity.errors import IdentityError
from skerry_host.identity.files import plane_identity
from tests.kit.programs import require_program
from tests.lab import fault
from tests.lab.ledger import Ledger

NOW = 1_800_000_000.0
KILLS, FAILURES = (10_000, 10_000) if os.environ.get("ALL_POINTS") else (7, 5)


def found(folder: Path) -> None:
    Authority.open(folder / "home" / "identity", NOW)


def founded(folder: Path) -> None:
    Authority.open(folder / "home" / "identity", NOW)


def take(folder: Path) -> None:
    custody.take_root(folder / "home" / "identity", folder / "stick", None)


def root_is_somewhere(folder: Path) -> None:
    """Readable in the home or on the stick; and the command ends it when it is run again."""
    here, there = folder / "home" / "identity" / "root" / "root.key", folder / "stick" / "root.key"
    (key,) = {key_files.key_pem(key_files.load_key(path)) for path in (here, there) if path.exists()}
    if here.exists():
        take(folder)
    assert key_files.key_pem(key_files.load_key(there)) == key


def files(folder: Path) -> None:
    plane_identity(folder / "home" / "identity", ["b.local"], NOW + 3000 * 86_400)


def files_are_whole(folder: Path) -> None:
    """Each, as far as it is there, holds a certificate and its key, also while a broker reads it."""
    for name in ("plane", "server", "canary", "old"):
        path = folder / "home" / "identity" / "plane" / f"{name}.pem"
        leaf = key_files.load_certificates(path)[0]
        assert leaf.public_key() == key_files.load_key(path).public_key()
    assert b"END X509 CRL" in (folder / "home" / "identity" / "plane" / "revoked.crl.pem").read_bytes()
    files(folder)


def renew(folder: Path) -> None:
    identity = folder / "home" / "identity"
    custody.renew_issuing(identity, identity / "root", None, NOW)
    custody.activate(identity)


def make_next(folder: Path) -> None:
    identity = folder / "home" / "identity"
    custody.renew_issuing(identity, identity / "root", None, NOW)


def authority_signs(folder: Path) -> None:
    Authority.open(folder / "home" / "identity", NOW).principal("@plane")
    renew(folder)
    Authority.open(folder / "home" / "identity", NOW).principal("@plane")


@dataclass(frozen=True)
class Case:
    """`work` in a folder that `before` has made; whatever happened to it, `holds` is true afterwards."""

    work: Callable[[Path], None]
    holds: Callable[[Path], None]
    before: tuple[Callable[[Path], None], ...] = ()


def young_files(folder: Path) -> None:
    plane_identity(folder / "home" / "identity", ["a.local"], NOW)


CASES = {
    "founding": Case(found, founded),
    "taking the root key": Case(take, root_is_somewhere, (found,)),
    "renewing the plane's files": Case(files, files_are_whole, (young_files,)),
    "renewing the issuing CA": Case(renew, authority_signs, (found,)),
    "renewing it again while one waits": Case(renew, authority_signs, (found, make_next)),
}


def some(calls, most):
    step = max(1, len(calls) // most)
    return calls[::step][:most] if step > 1 else calls


@pytest.mark.parametrize("name", CASES)
def test_interrupted_anywhere_nothing_is_half_done(name, tmp_path):
    """Killed at a system call, or on a disk that is full or cannot be written."""
    require_program("strace", "strace")
    case, made, work = CASES[name], tmp_path / "made", tmp_path / "work"
    (made / "home").mkdir(parents=True)
    for step in case.before:
        step(made)

    def afresh():
        shutil.rmtree(work, ignore_errors=True)
        shutil.copytree(made, work)

    afresh()
    case.work(work)  # what is imported at the first use would count
    afresh()
    calls = fault.record(lambda: case.work(work), work, tmp_path / "trace")
    assert len(calls) > 20
    for call in some(calls, KILLS):
        afresh()
        assert fault.kill_at(lambda: case.work(work), call, Ledger()).signal == 9, call
        case.holds(work)
    for number, call in enumerate(some(calls, FAILURES)):
        afresh()
        ended = fault.fail_at(lambda: case.work(work), call, ("ENOSPC", "EIO", "EROFS")[number % 3], Ledger())
        assert ended.well or ended.said.startswith("IdentityError: "), f"{call}: {ended.said}"
        case.holds(work)


def test_a_home_inside_which_the_root_key_would_stay_is_refused(tmp_path):
    found(tmp_path)
    for inside in (tmp_path / "home" / "usb", tmp_path / "home" / "identity" / "root", tmp_path / "x" / ".." / "home"):
        with pytest.raises(IdentityError, match="inside the home"):
            custody.take_root(tmp_path / "home" / "identity", inside, None)
    founded(tmp_path)
