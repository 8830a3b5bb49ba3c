"""The passphrase of a backup: from a file, the environment or a terminal, never from argv, which others see."""

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
WAYS = f"write it to a file and give --passphrase-file FILE, or set ${VARIABLE}"


def existing(file: Path | None) -> str:
    """The passphrase of a backup that is there. Raises `PassphraseError`."""
    return _given(file) or _asked(twice=False)


def new(file: Path | None) -> str:
    """The passphrase of a backup to come; one that is asked for is typed twice. Raises `PassphraseError`."""
    phrase = _given(file) or _asked(twice=True)
    if len(phrase) < LEAST:
        hint = "whoever finds the backup tries the short ones first; five random words are good"
        raise PassphraseError(
            f"a passphrase of {len(phrase)} characters is too short, give at least {LEAST}", hint=hint
        )
    return phrase


def _given(file: Path | None) -> str:
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


def _asked(*, twice: bool) -> str:
    if not sys.stdin.isatty():
        raise PassphraseError("a backup needs a passphrase", hint=WAYS)
    phrase: str = click.prompt("passphrase of the backup", hide_input=True, confirmation_prompt=twice, err=True)
    return phrase
