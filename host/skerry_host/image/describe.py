"""image.json, which says what is in a folder for programs, and SHA256SUMS, by which the board checks it."""

from collections.abc import Sequence
from typing import Literal

from msgspec import Struct
from msgspec.json import encode as encode_json
from msgspec.json import format as format_json

from skerry_host.image.first_boot import needs_kb
from skerry_host.image.request import ImageFile, ImageRequest

SUMS = "SHA256SUMS"


class ImageDescription(Struct, frozen=True):
    """What an image folder is for, and what it holds. `made` and `expires` are seconds since 1970.

    `device` is absent where the host names who comes, `claim` and `expires` where boards need none. `needs_kb` is what
    installing it takes on the board. `python` and `libedgetpu` came with it; `edgetpu` is what is known of that, for
    each system.
    """

    schema: Literal[1]
    board: str
    machine: str
    systems: tuple[str, ...]
    pythons: tuple[str, ...]
    broker: str
    made: float
    distributions: dict[str, str]
    files: int
    bytes: int
    needs_kb: int
    device: str | None = None
    claim: str | None = None
    expires: float | None = None
    count: int = 1
    factory: tuple[str, ...] = ()
    python: str = ""
    libedgetpu: str = ""
    edgetpu: tuple[str, ...] = ()
    extra: dict[str, str] = {}


def described(request: ImageRequest, files: Sequence[ImageFile]) -> ImageFile:
    """image.json. Raises `OSError`."""
    ordered, coral = request.ordered, request.ordered.coral
    made = ImageDescription(
        schema=1,
        board=request.board.name,
        machine=ordered.wheelhouse.machine,
        systems=tuple(system.name for system in ordered.systems),
        pythons=ordered.wheelhouse.pythons,
        broker=request.broker,
        made=request.made,
        distributions=ordered.wheelhouse.distributions(),
        files=len(files) + 2,
        bytes=sum(file.size() for file in files),
        needs_kb=needs_kb(request),
        device=request.device,
        claim=request.claim,
        expires=request.expires,
        count=request.count,
        factory=tuple(each.release for each in ordered.factories),
        python=ordered.interpreter.version if ordered.interpreter is not None else "",
        libedgetpu=coral.driver.title if coral is not None and coral.driver is not None else "",
        edgetpu=tuple(row.verdict for row in coral.rows) if coral is not None else (),
        extra=dict(request.extra),
    )
    return ImageFile("image.json", format_json(encode_json(made)) + b"\n")


def sums(files: Sequence[ImageFile]) -> ImageFile:
    """The sha256 of each file, as sha256sum reads it. Raises `OSError`."""
    lines = sorted(f"{file.sha256()}  {file.path}\n" for file in files)
    return ImageFile(SUMS, "".join(sorted(lines, key=lambda line: line[66:])).encode())
