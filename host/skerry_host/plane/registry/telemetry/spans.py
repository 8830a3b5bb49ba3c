"""Sets of sequence numbers as spans: ranges in order and apart. Pure."""

from collections.abc import Iterable, Sequence

from skerry_agent.wire.telemetry import Span

MAX_SPANS = 200
"""With more gaps than this, the oldest gap is closed: its reports count as lost."""


def joined(spans: Sequence[Span], sequences: Iterable[int], most: int = MAX_SPANS) -> tuple[tuple[Span, ...], int]:
    """The spans with some sequences in them, in order and apart; and how many lay in holes that were closed."""
    made: list[Span] = []
    for first, last in sorted([*spans, *((each, each) for each in sequences)]):
        if made and first <= made[-1][1] + 1:
            made[-1] = made[-1][0], max(last, made[-1][1])
        else:
            made.append((first, last))
    closed = 0
    while len(made) > most:
        (first, end), (begin, last) = made[:2]
        made[:2] = [(first, last)]
        closed += begin - end - 1
    return tuple(made), closed


def without(spans: Iterable[Span], others: Sequence[Span]) -> tuple[Span, ...]:
    """What of the spans is in none of the others; both in order and apart."""
    left: list[Span] = []
    for first, last in spans:
        begin = first
        for other, end in others:
            if end < begin or other > last:
                continue
            if other > begin:
                left.append((begin, other - 1))
            begin = end + 1
        if begin <= last:
            left.append((begin, last))
    return tuple(left)


def holds(spans: Sequence[Span], sequence: int) -> bool:
    """Whether a sequence is in one of the spans; quickest for those at the end."""
    for first, last in reversed(spans):
        if sequence > last:
            return False
        if sequence >= first:
            return True
    return False


def count(spans: Iterable[Span]) -> int:
    """How many sequences the spans hold."""
    return sum(last - first + 1 for first, last in spans)
