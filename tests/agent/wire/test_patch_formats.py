"""Agents and hosts of different ages: nobody is sent, or asks for, a patch of a format that it does not know."""

import msgspec
from msgspec import Struct

from skerry_agent.wire import codec
from skerry_agent.wire.blobs import describe
from skerry_agent.wire.manifest import PATCH_FORMAT, PatchRef, Release
from skerry_agent.wire.routes import cheapest, newest_patch_format
from skerry_agent.wire.twin import Reported
from tests.kit.messages import BLOB, MESSAGES

BASE = "e" * 64
OLD_STYLE = PatchRef(BASE, BLOB.sha256, "bsdiff", describe(bytes(900)))
NEW_STYLE = PatchRef(BASE, BLOB.sha256, "typed", describe(bytes(500)), 2)
LATER = PatchRef(BASE, BLOB.sha256, "unheard-of", describe(bytes(1)), 99)
RELEASE = msgspec.structs.replace(MESSAGES["release"], patches=(OLD_STYLE,), newer_patches=(NEW_STYLE, LATER))
REPORTED = ("dev-1", "boot", 1, 0, "0.1.0", "generic-x86", ("cpu",))


class FirstPatchRef(Struct, frozen=True, forbid_unknown_fields=True):
    """A patch in the manifest as agents before format version 2 read it, with nothing that they would not know."""

    base_sha256: str
    new_sha256: str
    codec: str
    blob: dict[str, object]


class FirstRelease(Struct, frozen=True):
    """What such an agent reads of a release to find a patch."""

    patches: tuple[FirstPatchRef, ...] = ()


class FirstReported(Struct, frozen=True):
    """What such an agent reports, as far as a patch depends on it."""

    device: str
    boot: str
    sequence: int
    generation: int
    agent: str
    board: str
    targets: tuple[str, ...]


def test_an_older_agent_finds_only_its_own_kind_in_a_newer_release():
    read = codec.decode(codec.encode(RELEASE), FirstRelease)
    assert [patch.codec for patch in read.patches] == ["bsdiff"]


def test_an_agent_takes_the_cheapest_patch_that_it_can_apply():
    read = codec.decode(codec.encode(RELEASE), Release)
    for patch_format, expected in ((1, OLD_STYLE), (2, NEW_STYLE), (99, LATER)):
        assert cheapest(read.patches_up_to(patch_format), {BASE}, BLOB.sha256) == (expected,)


def test_an_older_release_has_patches_for_a_newer_agent():
    older = msgspec.json.decode(codec.encode(msgspec.structs.replace(RELEASE, newer_patches=())))
    del older["newer_patches"]
    assert codec.decode(msgspec.json.encode(older), Release).patches_up_to(PATCH_FORMAT) == (OLD_STYLE,)


def test_what_a_device_does_not_say_it_does_not_know():
    older = codec.decode(codec.encode(FirstReported(*REPORTED)), Reported)
    newer = codec.decode(codec.encode(Reported(*REPORTED, patch_format=PATCH_FORMAT)), Reported)
    assert [newest_patch_format(one) for one in (None, older, newer)] == [1, 1, PATCH_FORMAT]
