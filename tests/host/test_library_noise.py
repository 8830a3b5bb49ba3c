"""What libraries write by themselves is dropped, and everything else is there again behind it."""

import os
import warnings
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

from skerry_host.library_noise import silenced


def test_neither_what_c_writes_nor_a_warning_is_seen(capfd):
    with silenced():
        os.write(2, b"ZIPDecode: Decoding error\n")
        warnings.warn("Corrupt EXIF data", stacklevel=1)
    os.write(2, b"ours\n")
    assert capfd.readouterr().err == "ours\n"


def test_threads_that_ask_at_once_leave_standard_error_as_it_was(capfd):
    """Each put back what it had found: the second one nothing, for good."""
    together = Barrier(4)

    def noisy(_turn: int) -> None:
        for _ in range(200):
            with silenced():
                os.write(2, b"noise\n")
        together.wait()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(noisy, range(4)))
    os.write(2, b"ours\n")
    assert capfd.readouterr().err == "ours\n"
