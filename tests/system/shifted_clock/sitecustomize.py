"""Python imports this at its start where the folder is on its path: it shifts the wall clock of a device's processes by
the seconds that stand in the file named by SKERRY_TEST_CLOCK. The monotonic clock stays, as on a real device.

Not libfaketime: 0.9.10 makes `time.sleep` fail (EINVAL) where the monotonic clock is left alone.
"""

import os
import time
from pathlib import Path

if "SKERRY_TEST_CLOCK" in os.environ:
    _right, _shift = time.time, Path(os.environ["SKERRY_TEST_CLOCK"])
    time.time = lambda: _right() + float(_shift.read_text())
