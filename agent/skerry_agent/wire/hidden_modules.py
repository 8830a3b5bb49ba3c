"""Modules of a wheelhouse that would stand before others: Python's own, its hooks, the agent's. Pure.

What is installed beside the base environment comes first on the path of whoever runs with it. By names of files alone.
"""

import sys
from collections.abc import Iterable
from typing import Final

HOOKS: Final = frozenset({"sitecustomize", "usercustomize"})
"""Modules that Python imports by itself at its start, whoever brings them."""
OF_THE_AGENT: Final = frozenset({"skerry_agent", "msgspec", "paho", "cryptography", "zstandard", "h11"})
"""What an agent brings, and a runtime may not."""
_CODE = (".py", ".pyc", ".so")
_FOR_PYTHON = {"purelib", "platlib"}
_LIBRARY = ("lib", "python")
"""Where `pip install --target` looks for modules among a wheel's data, beside the top of it."""


def modules_of(files: Iterable[str]) -> set[str]:
    """The modules and packages that files, by their path in a wheel or a folder, make at the top of the path."""
    return {module for name in files if (module := _module(tuple(name.split("/")))) is not None}


def _module(parts: tuple[str, ...]) -> str | None:
    if parts[0].endswith(".data") and len(parts) > 2:
        if parts[1] == "data":
            parts = parts[4:] if parts[2:4] == _LIBRARY else parts[2:]
        else:
            parts = parts[2:] if parts[1] in _FOR_PYTHON else ()
    if not parts or parts[0].endswith((".dist-info", ".data")):
        return None
    name = parts[0].partition(".")[0] if len(parts) == 1 else parts[0]
    return name if name.isidentifier() and (len(parts) > 1 or parts[0].endswith(_CODE)) else None


def before_python(modules: Iterable[str]) -> list[str]:
    """Those that would stand before Python's own, or that it imports by itself."""
    return sorted({*modules} & (sys.stdlib_module_names | HOOKS))


def before_the_agent(modules: Iterable[str]) -> list[str]:
    """Those that would stand before the agent, or what it is made of."""
    return sorted({*modules} & OF_THE_AGENT)
