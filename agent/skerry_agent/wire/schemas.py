"""Which schema a manifest needs, so that an agent that would misread it refuses it, and says what to do. Pure.

Agents ignore fields that they do not know. Where that would change what a release answers, its manifest has a higher
schema: an agent from before says that it reads a lower one, and asks for a newer skerry-agent. Everything else keeps
schema 1, and is served by agents of every age.
"""

from collections.abc import Iterable, Iterator
from typing import Final, Literal

from skerry_agent.wire.manifest import Bundle, Preprocess

Schema = Literal[1, 2]
NEWEST: Final = 2
"""The newest schema that this code reads."""

_PLAIN = Preprocess()
_FIRST_DECODERS = ("ssd", "decoded")
"""The decoders that agents of schema 1 know."""
_PICTURES = ("detection",)
"""Tasks of agents of schema 1 whose answers lie in the first input."""


def schema_of(bundles: Iterable[Bundle]) -> Schema:
    """The lowest schema whose agents read these bundles as they are meant."""
    return 2 if newer_meanings(bundles) else 1


def newer_meanings(bundles: Iterable[Bundle]) -> list[str]:
    """What agents of schema 1 do not know of these bundles, and would leave out of their answers; in words."""
    return list(dict.fromkeys(words for bundle in bundles for words in _newer_meanings(bundle)))


def _newer_meanings(bundle: Bundle) -> Iterator[str]:
    if bundle.postprocess.decoder not in _FIRST_DECODERS:
        yield f"decoder {bundle.postprocess.decoder}"
    if bundle.joins:
        yield "outputs that are joined from parts"
    if bundle.feedback:
        yield "states that are fed back"
    if len(bundle.inputs) > 1:
        if any(prep != _PLAIN for prep in (bundle.preprocess, *bundle.preprocesses)):
            yield "several inputs with preprocessing"
        elif bundle.task in _PICTURES and len(bundle.inputs[0].shape) != 4:
            yield "a picture that is not the first input"
