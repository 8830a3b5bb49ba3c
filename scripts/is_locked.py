"""Exit status 0 where requirements/*.txt hold for this machine and Python: elsewhere they leave everything out.

The same conditions as `[tool.uv] environments` in pyproject.toml; a test holds the two together.
"""

import platform
import sys

MACHINES = ("x86_64", "aarch64")
BEFORE = (3, 14)


def holds(system: str, machine: str, python: tuple[int, ...], implementation: str) -> bool:
    """Whether the locks are for such a machine."""
    return (system, implementation) == ("linux", "CPython") and machine in MACHINES and (3, 11) <= python < BEFORE


if __name__ == "__main__":
    here = (sys.platform, platform.machine(), sys.version_info[:2], platform.python_implementation())
    sys.exit(not holds(*here))
