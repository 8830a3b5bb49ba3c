"""A passphrase, of a backup or the root key: from a file, the environment or a terminal, never from argv."""

import os
import stat
import sys
from pathlib import Path

import click

from skerry_host.plane.errors import PassphraseError

VARIABLE = "SKERRY_PASSPHRASE"
LEAST = 12
"""Fewer characters can be tried through, whatever scrypt costs."""
MOST_BYTES = 1024
BACKUP = "the backup"
WAYS = f"write it to a file and give --passphrase-file FILE, or set ${VARIABLE}"


def existing(file: Path | None, what: str = BACKUP) -> str:
    """The passphrase of what is there: `what`, for whoever is asked. Raises `PassphraseError`."""
    return given(file) or _asked(what, twice=False)


def new(file: Path | None, what: str = BACKUP) -> str:
    """The passphrase of what is to be sealed; one that is asked for is typed twice. Raises `PassphraseError`."""
    phrase = given(file) or _asked(what, twice=True)
    if len(phrase) < LEAST:
        hint = "whoever finds the file tries the short ones first; five random words are good"
        raise PassphraseError(
            f"a passphrase of {len(phrase)} characters is too short, give at least {LEAST}", hint=hint
        )
    return phrase


def given(file: Path | None) -> str:
    """What a file or the environment says, empty where neither does; nobody is asked. Raises `PassphraseError`."""
    if file is None:
        return os.environ.get(VARIABLE, "")
    try:
        with file.open("rb") as opened:
            status = os.fstat(opened.fileno())
            raw = opened.read(MOST_BYTES + 1)
    except OSError as error:
        raise PassphraseError(f"cannot read the passphrase in {file}: {error.strerror}") from None
    if stat.S_ISREG(status.st_mode) and status.st_mode & 0o077:
        raise PassphraseError(f"the passphrase in {file} is readable by others", hint=f"run `chmod 600 {file}`")
    return _line(raw, file)


def _line(raw: bytes, file: Path) -> str:
    """The one line of a file."""
    try:
        lines = raw.decode().splitlines()
    except UnicodeDecodeError:
        lines = []
    if len(raw) > MOST_BYTES or len(lines) != 1 or not lines[0]:
        raise PassphraseError(f"{file} is not one line of text with a passphrase", hint="write it on one line")
    return lines[0]


def _asked(what: str, *, twice: bool) -> str:
    if not sys.stdin.isatty():
        raise PassphraseError(f"{what} needs a passphrase", hint=WAYS)
    phrase: str = click.prompt(f"passphrase of {what}", hide_input=True, confirmation_prompt=twice, err=True)
    return phrase
