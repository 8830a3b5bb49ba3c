"""Finds the patches that lead from files a device has to the one it needs: one rule for device and host. Pure.

A route is one patch, or several one after the other where that is shorter in total; each intermediate file is named
by its hash in the signed manifest, and so verified.
"""

import hashlib
from collections.abc import Iterable, Set
from typing import Final

from skerry_agent.wire.manifest import PatchRef
from skerry_agent.wire.twin import Reported

MAX_PATCHES = 4
"""The longest route: every patch costs a device the time of writing a whole file."""

EMPTY_SHA256: Final = hashlib.sha256(b"").hexdigest()
"""The empty file, which every device holds: a patch from it is a file packed for the way."""

Route = tuple[PatchRef, ...]


def newest_patch_format(reported: Reported | None) -> int:
    """The newest version of the patch format that a device applies, by its report: 1 until there is one."""
    return reported.patch_format if reported else 1


def bytes_of(route: Route) -> int:
    """What a route costs to fetch."""
    return sum(patch.blob.size for patch in route)


def cheapest(patches: Iterable[PatchRef], held: Set[str], wanted: str) -> Route | None:
    """The route of the fewest bytes from a held file to `wanted`, by sha256; None when no route leads there.

    Of routes of equal bytes the shorter one. An empty route means that `wanted` is held. The empty file is always held.
    """
    edges = list(patches)
    best: dict[str, Route] = dict.fromkeys(held | ({EMPTY_SHA256} - {wanted}), ())
    for _ in range(MAX_PATCHES):
        for patch in edges:
            if patch.base_sha256 in best:
                route = (*best[patch.base_sha256], patch)
                known = best.get(patch.new_sha256)
                if len(route) <= MAX_PATCHES and (known is None or _cost(route) < _cost(known)):
                    best[patch.new_sha256] = route
    return best.get(wanted)


def _cost(route: Route) -> tuple[int, int]:
    return bytes_of(route), len(route)
