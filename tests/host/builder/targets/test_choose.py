"""What a choice of a model remembers."""

import weakref

from skerry_host.builder.targets.choose import latest


class Answers:
    """Of a model to all samples: a detector's fill a disk."""


def test_only_the_last_comparison_is_kept():
    compare = latest(lambda _model: Answers())
    first = weakref.ref(compare(b"first"))
    assert compare(b"first") is first()
    compare(b"second")
    assert first() is None
