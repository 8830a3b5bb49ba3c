"""Who was left out of a rollout before it began, and why, in words: the same for the terminal and for the page."""

from skerry_host.plane.views.labels import label
from skerry_host.release.fitting import Admission, LeftOut


def admission_lines(known: Admission | None) -> list[str]:
    """A line for who is left out, who serves on the cpu at first, and who has not said what it is; none for nobody."""
    if known is None:
        return []
    parts = (
        ("left out", known.left_out),
        ("serve on the cpu until their accelerator can be used", known.meanwhile),
        ("ordered, though not known to fit", known.unknown),
    )
    return [f"{_count(found)} of {known.of} devices {words}: {_reasons(found)}" for words, found in parts if found]


def _count(found: tuple[LeftOut, ...]) -> int:
    return sum(each.count for each in found)


def _reasons(found: tuple[LeftOut, ...]) -> str:
    return "; ".join(f"{each.count} {label(each.code)} ({each.words})" for each in found)
