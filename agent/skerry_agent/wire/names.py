"""The names that may appear in topics, paths and records, and the patterns that keep them harmless there.

None of them can hold a topic wildcard, a path separator, a NUL or a leading dot.
"""

import re
from typing import Annotated

from msgspec import Meta

from skerry_agent.wire.errors import WireError

DEVICE_PATTERN = r"^[a-z0-9-]{3,41}\Z"
MODEL_PATTERN = r"^[a-z0-9][a-z0-9_-]{0,62}\Z"
VERSION_PATTERN = r"^[0-9]+\.[0-9]+\.[0-9]+(-[0-9A-Za-z.-]{1,32})?\Z"
RELEASE_PATTERN = MODEL_PATTERN[:-2] + "@" + VERSION_PATTERN[1:]
SHA256_PATTERN = r"^[0-9a-f]{64}\Z"
HEX32_PATTERN = r"^[0-9a-f]{32}\Z"
CLAIM_PREFIX = "@claim-"
BIRTH_PREFIX = "@birth-"
PRINCIPAL_PATTERN = rf"^(?:{CLAIM_PREFIX}[1-9][0-9]{{0,8}}|{BIRTH_PREFIX}[a-z0-9-]{{3,41}})\Z"
KEY_PATTERN = r"^[0-9a-f]{16}\Z"
FILE_PATTERN = r"^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}\Z"

DeviceId = Annotated[str, Meta(pattern=DEVICE_PATTERN)]
ModelName = Annotated[str, Meta(pattern=MODEL_PATTERN)]
Version = Annotated[str, Meta(pattern=VERSION_PATTERN)]
ReleaseName = Annotated[str, Meta(pattern=RELEASE_PATTERN)]
Sha256 = Annotated[str, Meta(pattern=SHA256_PATTERN)]
Incarnation = Annotated[str, Meta(pattern=HEX32_PATTERN)]
Nonce = Annotated[str, Meta(pattern=HEX32_PATTERN)]
FileName = Annotated[str, Meta(pattern=FILE_PATTERN)]
MAX_COUNT = 2**53
"""Above it JSON numbers are not exact everywhere, and below it adding to one never leaves 64 bits."""

Count = Annotated[int, Meta(ge=0, le=MAX_COUNT)]


def is_device_id(text: str) -> bool:
    """Whether it may name a device."""
    return re.match(DEVICE_PATTERN, text) is not None


def check_device_id(text: str) -> str:
    """Return `text` if it is a device id, else raise `WireError` that says what one looks like."""
    if is_device_id(text):
        return text
    raise WireError(f"device id {text!r}", ["use 3 to 41 characters of a-z, 0-9 and -"], code="device_id")


def is_principal(text: str) -> bool:
    """Whether it may name a claim or a birth certificate."""
    return re.match(PRINCIPAL_PATTERN, text) is not None


def check_principal(text: str) -> str:
    """Return `text` if it names who may ask for enrolment, a claim or a birth certificate, else raise `WireError`.

    Names that are no device begin with `@`, which a device id cannot hold: no record can be made to pass as one.
    """
    if is_principal(text):
        return text
    raise WireError(f"principal {text!r}", [f"use {CLAIM_PREFIX}NUMBER or {BIRTH_PREFIX}DEVICE"], code="principal")


def check_key(text: str) -> str:
    """Return `text` if it names a key in a topic: the first 16 hex digits of its sha256; else raise `WireError`."""
    if re.match(KEY_PATTERN, text):
        return text
    raise WireError(f"key {text!r}", ["use 16 hex digits"], code="key")


def check_sha256(text: str) -> str:
    """Return `text` if it is a sha256 in hex, else raise `WireError`."""
    if re.match(SHA256_PATTERN, text):
        return text
    raise WireError(f"sha256 {text!r}", ["use 64 hex digits"], code="sha256")


def is_model_name(text: str) -> bool:
    """Whether it may name a model: what lies on a disk under another name is none of ours."""
    return re.match(MODEL_PATTERN, text) is not None


def check_model(text: str) -> str:
    """Return `text` if it is a model's name, else raise `WireError` that says what one looks like."""
    if is_model_name(text):
        return text
    raise WireError(f"model {text!r}", ["use at most 63 characters of a-z, 0-9, - and _"], code="release_name")


def release_name(model: str, version: str) -> str:
    """`model@version`, the name of a release; raises `WireError` if it would not be one."""
    name = f"{model}@{version}"
    if re.match(RELEASE_PATTERN, name):
        return name
    raise WireError(
        f"release {name!r}", ["use MODEL@MAJOR.MINOR.PATCH, for instance fashion@1.0.0"], code="release_name"
    )


def split_release(name: str) -> tuple[str, str]:
    """(model, version) of a release name; raises `WireError` if it is not one."""
    model, _, version = name.partition("@")
    release_name(model, version)
    return model, version
