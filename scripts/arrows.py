"""Prints how many arrows run between the rooms of each package: what imports what, counted once a pair of rooms.

A room is a folder or a file directly below a package. Figures to read, not a check: that no arrow runs upward and that
nothing imports itself in a ring is held by the contracts in pyproject.toml.
"""

import sys
from collections.abc import Iterable

import grimp

PACKAGES = ("skerry_agent", "skerry_host", "skerry_host.builder", "skerry_host.plane")


def arrows(graph: grimp.ImportGraph, package: str) -> tuple[set[str], set[tuple[str, str]]]:
    """The rooms of a package, and the pairs of them of which the first imports the second."""
    depth = package.count(".") + 1
    modules = [module for module in graph.modules if module.startswith(f"{package}.")]
    pairs = {
        (module.split(".")[depth], imported.split(".")[depth])
        for module in modules
        for imported in graph.find_modules_directly_imported_by(module)
        if imported.startswith(f"{package}.")
    }
    return {module.split(".")[depth] for module in modules}, {pair for pair in pairs if len(set(pair)) > 1}


def main(shown: Iterable[str]) -> None:
    """Print a line a package; with the name of one, what each of its rooms imports."""
    graph = grimp.build_graph("skerry_agent", "skerry_host", cache_dir=None)
    for package in PACKAGES:
        rooms, pairs = arrows(graph, package)
        print(f"{package}: {len(rooms)} rooms, {len(pairs)} arrows between them")
        for room in sorted(rooms) if package in shown else ():
            print(f"  {room}: {' '.join(sorted(to for of, to in pairs if of == room)) or '-'}")


if __name__ == "__main__":
    main(sys.argv[1:])
