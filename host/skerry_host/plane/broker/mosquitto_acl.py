"""How mosquitto's ACL files say what `rights` say. Pure.

`topic` lines hold for the user above them, or before the first `user` line for clients without a name; a denial of a
user comes before all else, patterns included; `pattern` lines hold for every user of the listener.
"""

from collections.abc import Iterable, Iterator

from skerry_host.plane.broker.rights import NAME, Rights


def lines_of(rights: Rights, word: str = "topic") -> list[str]:
    """What may be written, then what may be read; both in one line where they are the same."""
    both = set(rights.write) & set(rights.read)
    return [
        *(f"{word} {'readwrite' if topic in both else 'write'} {topic}" for topic in rights.write),
        *(f"{word} read {topic}" for topic in rights.read if topic not in both),
    ]


def user_lines(name: str, rights: Rights) -> Iterator[str]:
    """The rights of one user."""
    yield f"user {name}"
    yield from lines_of(rights)


def denied(names: Iterable[str]) -> Iterator[str]:
    """Users who may nothing, whatever a pattern says."""
    for name in sorted(names):
        yield from (f"user {name}", "topic deny #")


def pattern_lines(rights: Rights) -> Iterator[str]:
    """The rights of whoever connects, by name."""
    return (line.replace(NAME, "%u") for line in lines_of(rights, "pattern"))
