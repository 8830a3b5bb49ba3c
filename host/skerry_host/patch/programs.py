"""The candidates that are programs of extents: `bsdiff` knows no models, `model` does, `typed` also their floats.

It tries forms of grids and styles of alignment and keeps the smallest. It does not compare with other codecs.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace

from skerry_agent.patch import Codec
from skerry_agent.patch.program import MAX_POOL_WORDS
from skerry_host.patch.align import Aligner, Style
from skerry_host.patch.bounds import floats_say_little, has_lost
from skerry_host.patch.floats import find_floats
from skerry_host.patch.layout import layout_of
from skerry_host.patch.model import Attempt, Files, encode_extents, fit_grids, forms
from skerry_host.patch.pairing import pair_layers
from skerry_host.patch.progress import UNSEEN, Progress
from skerry_host.patch.regions import Regions, find_regions
from skerry_host.patch.tensors import Layout

# Tables want every run that continues the old file; texts are better off with a dictionary than with many short runs.
EAGER = Style(24, 1)
RELUCTANT = (Style(256, 8), Style(2048, 32))
PLAIN_SHARE = 0.02  # of a payload, below which another style of alignment cannot matter
LONG_PLAIN = 500_000  # bytes that another style would take too long to try


Guard = Callable[[Codec], AbstractContextManager[None, bool | None]]
"""What the making of a candidate happens in: it may keep an error from the other candidates."""


def _unguarded(_codec: Codec) -> AbstractContextManager[None, None]:
    return nullcontext()


def encode_programs(
    old: bytes, new: bytes, guard: Guard = _unguarded, progress: Progress = UNSEEN
) -> dict[Codec, Attempt]:
    """The smallest attempt of each of the three codecs, where it has one."""
    files = Files(old, new, Aligner(old, new))
    made: dict[Codec, Attempt] = {}
    lost = False
    before, after, regions = layout_of(old), layout_of(new), Regions()
    with guard("model"):
        pairs = pair_layers(old, new, before, after)
        regions = find_regions(old, new, pairs)
        if pairs and (model := _best(files, regions, len(new), progress.part(0.0, 0.6))):
            made["model"] = model = _for_everyone(files, regions, model)
            lost = has_lost(files, regions, model)
    with guard("typed"):
        if typed := _typed(files, regions, (before, after), made.get("model"), progress.part(0.6, 0.75)):
            made["typed"] = typed
    if lost:
        return made
    # Agents that know only version 1 need a patch, too.
    bound = made["model"].size if "model" in made else len(new)
    with guard("bsdiff"):
        if plain := _best(files, Regions(), bound, progress.part(0.75, 1.0)):
            made["bsdiff"] = plain
    return made


def _for_everyone(files: Files, regions: Regions, model: Attempt) -> Attempt:
    """`model` with a payload for version 1, which has one program and one pool, if that can be made."""
    if model.payload is not None or sum(plan.old.count for plan in regions.vectors) <= MAX_POOL_WORDS:
        return model
    first = encode_extents(files, regions.of_first_pool(files.old, files.new), model.form, EAGER, len(files.new))
    return replace(model, payload=first.payload) if first else model


def _typed(
    files: Files, regions: Regions, layouts: tuple[Layout, Layout], model: Attempt | None, progress: Progress
) -> Attempt | None:
    """The smallest attempt that codes floats as such; None where none are worth it."""
    claims = regions.claims()
    floats = [grid for grid in layouts[1].floats if claims.free(grid.at, grid.size)]
    if model is not None and floats_say_little(files, layouts[0].floats, floats, model):
        return None
    found = find_floats(files.old, files.new, *layouts)
    if not found.grids:
        return None
    anchors = {at: rest for at, rest in found.anchors.items() if claims.free(at, rest[0])}
    grids = [grid for grid in found.grids if claims.free(grid.at, grid.size)]
    return _best(files, replace(regions, floats=grids, anchors=regions.anchors | anchors), len(files.new), progress)


def _best(files: Files, regions: Regions, bound: int, progress: Progress) -> Attempt | None:
    """The smallest attempt, made in a hurry where the first look is far above `bound` bytes."""
    candidates = forms(regions)
    best: Attempt | None = None
    for number, form in enumerate(candidates):
        first, share = number / len(candidates), 0.6 / len(candidates)
        fit_grids(regions, form, progress.part(first * 0.6, first * 0.6 + share * 0.6))
        seen = progress.part(first * 0.6 + share * 0.6, first * 0.6 + share)
        best = _smaller(best, encode_extents(replace(files, progress=seen), regions, form, EAGER, bound))
    if best is None:
        return None
    if PLAIN_SHARE * best.size < best.plain < LONG_PLAIN and best.size < 1.3 * bound:
        fit_grids(regions, best.form, UNSEEN)
        for number, style in enumerate(RELUCTANT):
            seen = progress.part(0.6 + 0.2 * number, 0.8 + 0.2 * number)
            again = encode_extents(replace(files, progress=seen), regions, best.form, style, bound)
            best = _smaller(best, again) or best
    return best


def _smaller(one: Attempt | None, other: Attempt | None) -> Attempt | None:
    attempts = [attempt for attempt in (one, other) if attempt is not None]
    return min(attempts, key=lambda attempt: attempt.size, default=None)
