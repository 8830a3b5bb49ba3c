"""A process whose wall clock is wrong, for Python and for OpenSSL. No tests here."""

import subprocess
from pathlib import Path

from tests.kit.programs import require_program


def wrong_clock(folder: Path, seconds: float) -> dict[str, str]:
    """What its environment needs for that; the library is compiled into `folder`."""
    library = folder / "wrong_clock.so"
    if not library.exists():
        compiler = require_program("gcc", "gcc")
        source = Path(__file__).with_suffix(".c")
        subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", str(library), str(source), "-ldl"], check=True)
    return {"LD_PRELOAD": str(library), "SKERRY_TEST_WRONG_S": str(round(seconds))}
