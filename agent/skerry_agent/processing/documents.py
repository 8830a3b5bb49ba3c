"""Answers as JSON has them: in a file of results and, where a client asks for it, in a response. Writes no file.

Formats: docs/applications.md. A name is there where the release has labels.
"""

from collections.abc import Callable, Sequence
from typing import Any

from skerry_agent.processing.answers import Embedding, Found, Numbers
from skerry_agent.processing.classes import Answer, ClassSet, Events
from skerry_agent.processing.detection import Detections
from skerry_agent.processing.masks import Mask
from skerry_agent.processing.points import Keypoints
from skerry_agent.processing.sequences import Symbols

MAX_RUNS = 20_000
"""Of equal pixels: a mask with more is noise, and only the shares of its classes are told."""
Document = dict[str, object]


def document_of(found: Found, names: Sequence[str] = ()) -> Document:
    """An answer as a JSON object; `names` are the labels."""
    return _DOCUMENTS[type(found)](found, names)


def _mask(found: Mask, names: Sequence[str]) -> Document:
    height, width = found.classes.shape
    runs = found.runs(MAX_RUNS)
    shares = {names[index] if index < len(names) else str(index): share for index, share in found.shares().items()}
    made: Document = {"shares": shares, "size": [height, width]}
    return made if runs is None else {**made, "runs": runs}


def _points(found: Keypoints, _names: Sequence[str]) -> Document:
    points = [[one.y, one.x, one.score] for one in found.points]
    return {"keypoints": points} if found.presence is None else {"keypoints": points, "presence": found.presence}


def _symbols(found: Symbols, names: Sequence[str]) -> Document:
    return {"text": found.text(names), "indices": found.indices, "score": found.score}


def _numbers(found: Numbers, _names: Sequence[str]) -> Document:
    return {"values": found.values, "unit": found.unit} if found.unit else {"values": found.values}


_DOCUMENTS: dict[type, Callable[[Any, Sequence[str]], Document]] = {
    Answer: lambda found, _names: {"index": found.index, "score": found.score},
    ClassSet: lambda found, _names: {"classes": found.found},
    Detections: lambda found, _names: {"detections": found.found},
    Embedding: lambda found, _names: {"embedding": found.vector},
    Events: lambda found, _names: {"events": found.found},
    Keypoints: _points,
    Mask: _mask,
    Numbers: _numbers,
    Symbols: _symbols,
}
