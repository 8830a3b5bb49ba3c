"""Asks the Raspberry Pi's own tool, `vcgencmd`. Never waits for one that hangs: a thread that did would hang, too.

A process that waits for the firmware cannot always be killed. It is left alone then, and no other is started beside it.
"""

import contextlib
import shutil
import subprocess
from pathlib import Path

TIMEOUT_S = 2.0


class FirmwareTool:
    """Runs `vcgencmd WORD...`; None for whatever goes wrong: not a Raspberry Pi, no right to ask, no answer."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._stuck: subprocess.Popen[str] | None = None

    @classmethod
    def find(cls) -> "FirmwareTool | None":
        """The installed one; /opt/vc/bin is where images before Bullseye have it, off the path of services."""
        path = shutil.which("vcgencmd") or shutil.which("vcgencmd", path="/opt/vc/bin")
        return cls(str(Path(path))) if path else None

    def ask(self, *words: str) -> str | None:
        """What it prints."""
        if self._stuck is not None and self._stuck.poll() is None:
            return None
        self._stuck = None
        try:
            process = subprocess.Popen(
                [self._path, *words],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                errors="replace",
            )
        except OSError:
            return None
        try:
            text, _ = process.communicate(timeout=TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._abandon(process)
            return None
        return text if process.returncode == 0 else None

    def _abandon(self, process: "subprocess.Popen[str]") -> None:
        process.kill()
        assert process.stdout is not None
        process.stdout.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=0.1)
            return
        self._stuck = process
