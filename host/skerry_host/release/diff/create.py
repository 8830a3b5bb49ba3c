"""Makes a patch: builds every candidate, keeps the smallest, and proves it with the device's own decoder.

It does not write files or choose policies.
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass
from typing import cast

from skerry_agent.patch import Codec, PatchHeader, apply
from skerry_agent.patch.container import FORMAT_VERSION, pack_header
from skerry_host.release.diff.align import Aligner, Style
from skerry_host.release.diff.blocks import encode_full, encode_zstd
from skerry_host.release.diff.layout import layout_of
from skerry_host.release.diff.model import Files, Form, encode_extents, fit_grids, forms
from skerry_host.release.diff.pairing import pair_layers
from skerry_host.release.diff.regions import Regions, find_regions

# Tables want every run that continues the old file; texts are better off with a dictionary than with many short runs.
STYLES = (Style(24, 1), Style(256, 8), Style(2048, 32))


class DiffError(RuntimeError):
    """An encoder made a patch that its decoder does not turn into the new file: a bug, never a user's mistake."""

    code = "round_trip"
    hint = "report this pair of files; until it is fixed, release the full artifact"


@dataclass(frozen=True, slots=True)
class Patch:
    """A verified patch. `seconds` is the time to make it, `candidates` the size in bytes of each codec's attempt."""

    data: bytes
    codec: Codec
    seconds: float
    candidates: dict[str, int]


def create(old: bytes, new: bytes) -> Patch:
    """Return the smallest patch that turns `old` into `new`, already applied once. Raises `DiffError`."""
    started = time.perf_counter()
    payloads: dict[Codec, bytes] = {"full": encode_full(new), "zstd": encode_zstd(old, new), **_extents(old, new)}
    patches = {codec: _header(codec, old, new) + payload for codec, payload in payloads.items()}
    codec = min(patches, key=lambda name: len(patches[name]))
    _prove(old, patches[codec], new)
    sizes: dict[str, int] = {name: len(patch) for name, patch in patches.items()}
    return Patch(patches[codec], codec, time.perf_counter() - started, sizes)


def _extents(old: bytes, new: bytes) -> dict[Codec, bytes]:
    """Return the payloads of the candidates that are programs of extents."""
    files = Files(old, new, Aligner(old, new))
    found = {"bsdiff": Regions()}
    pairs = pair_layers(old, new, layout_of(old), layout_of(new))
    if pairs:
        found["model"] = find_regions(old, new, pairs)
    return {cast("Codec", codec): payload for codec, regions in found.items() if (payload := _best(files, regions))}


def _best(files: Files, regions: Regions) -> bytes | None:
    """Return the smallest payload over the forms of grids, then over the styles of alignment."""
    made: list[tuple[int, bytes, Form]] = []
    for form in forms(regions):
        made += _attempt(files, regions, form, STYLES[0])
    if not made:
        return None
    form = min(made, key=lambda attempt: attempt[0])[2]
    for style in STYLES[1:]:
        made += _attempt(files, regions, form, style)
    return min(made, key=lambda attempt: attempt[0])[1]


def _attempt(files: Files, regions: Regions, form: Form, style: Style) -> list[tuple[int, bytes, Form]]:
    files.aligner.style = style
    fit_grids(regions, form)
    payload = encode_extents(files, regions, form)
    return [] if payload is None else [(len(payload), payload, form)]


def _header(codec: Codec, old: bytes, new: bytes) -> bytes:
    digests = hashlib.sha256(old).hexdigest(), hashlib.sha256(new).hexdigest()
    return pack_header(PatchHeader(FORMAT_VERSION, *digests, len(old), len(new), codec))


def _prove(old: bytes, patch: bytes, new: bytes) -> None:
    made = bytearray()
    apply(old, patch, made.extend, max_new_bytes=len(new))
    if made != new:
        raise DiffError("the patch does not make the new file")
