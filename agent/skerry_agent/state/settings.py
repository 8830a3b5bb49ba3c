"""The record of settings from afar on disk, in two copies: `settings.json` and `settings.second.json`. Decides nothing.

The first copy is written first and counts at once; the second is there for damage, and is made again where it lacks.
"""

import contextlib
from pathlib import Path

from skerry_agent.machine.settings import SettingsRecord
from skerry_agent.state.disk import DiskError, read_record, write_record
from skerry_agent.wire.errors import WireError

FILES = ("settings.json", "settings.second.json")


def read_settings(state: Path) -> tuple[SettingsRecord, str | None]:
    """The newest copy that is whole, and what is wrong with another; an empty record where there is none."""
    found, issue = [], None
    for name in FILES:
        try:
            record = read_record(state / name, SettingsRecord)
        except (DiskError, WireError) as error:
            issue = str(error)
            continue
        if record is not None:
            found.append(record)
    return max(found, key=lambda each: each.sequence, default=SettingsRecord()), issue


def write_settings(state: Path, record: SettingsRecord) -> None:
    """Replace it durably. Raises `OSError`, and then the record before holds."""
    write_record(state / FILES[0], record)
    with contextlib.suppress(OSError):  # the first counts; the next change makes it again
        write_record(state / FILES[1], record)
