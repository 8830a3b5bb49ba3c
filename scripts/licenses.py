"""Holds the licences of all locked packages that are installed here against requirements/licenses.toml.

Reads what each package says of itself (License-Expression, else classifiers, else License). It does not read the
licence texts of what a wheel carries inside. Exit status 1 and a line for each package that is not allowed.
"""

import re
import sys
import tomllib
from collections.abc import Iterable, Sequence
from importlib.metadata import PackageMetadata, PackageNotFoundError, metadata
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[1] / "requirements"
SHIPPED = ("device.txt", "run.txt", "coral.txt")
NAME = re.compile(r"[A-Za-z0-9._-]+(?===)")


def names_in(lock: str) -> set[str]:
    """The packages of a lock."""
    lines = (FOLDER / lock).read_text(encoding="utf-8").splitlines()
    return {found[0] for found in map(NAME.match, lines) if found}


def said_by(package: PackageMetadata) -> str:
    """The licence of a package, as an expression: several classifiers all count."""
    classifiers = [
        value.split(" :: ")[-1] for value in package.get_all("Classifier") or [] if value.startswith("License ::")
    ]
    lines = (package.get("License") or "").splitlines()
    return package.get("License-Expression") or " AND ".join(classifiers) or (lines[0] if lines else "")


def is_allowed(expression: str, allowed: Iterable[str]) -> bool:
    """Whether an expression of OR and AND can be met by licences that are allowed. Brackets are refused."""
    known = set(allowed)
    return any(all(part.strip() in known for part in choice.split(" AND ")) for choice in expression.split(" OR "))


def main(arguments: Sequence[str]) -> int:
    """Check; the rules may be another file."""
    rules = tomllib.loads(Path(arguments[0] if arguments else FOLDER / "licenses.toml").read_text(encoding="utf-8"))
    shipped = set[str]().union(*map(names_in, SHIPPED))
    checked, wrong = 0, []
    for name in sorted(shipped | names_in("dev.txt")):
        try:
            said = rules["said_elsewhere"].get(name) or said_by(metadata(name))
        except PackageNotFoundError:  # of another environment, or another machine
            continue
        checked += 1
        allowed = rules["shipped"] if name in shipped else rules["shipped"] + rules["tests"]
        if not is_allowed(said, allowed):
            wrong.append(f"{name}: {said or 'says no licence'}")
    for line in wrong:
        print(f"error: {line} is not in requirements/licenses.toml", file=sys.stderr)
    print(f"licences of {checked} packages checked, {len(wrong)} not allowed")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
