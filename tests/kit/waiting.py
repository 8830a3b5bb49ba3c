"""Waiting for what another thread or process does. No tests here."""

import time
from collections.abc import Callable


def eventually(check: Callable[[], object], what: str, patience_s: float = 20.0) -> None:
    """Wait until `check` is true; fail with `what` after `patience_s`."""
    deadline = time.monotonic() + patience_s
    while not check():
        assert time.monotonic() < deadline, f"not within {patience_s:g} s: {what}"
        time.sleep(0.02)
