"""Readers of a backup: the seal, and the archive inside, which only who has the passphrase can have written."""

import io
import tarfile
from pathlib import Path

from skerry_host.plane.backup import contents, restore, sealed
from skerry_host.plane.errors import BackupError
from tests.fuzz.files import scratch_folder

PHRASE = "five random words of a test"
CREATED = b'{"created":1.0,"skerry":"0","home":"/h","registry":"r","revision":"1","devices":1,"releases":1}'


def archive(*members: tuple[str, bytes]) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as made:
        for name, data in ((contents.CONTENTS, CREATED), *members):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            made.addfile(member, io.BytesIO(data))
    return file.getvalue()


def archive_seeds() -> list[bytes]:
    long = f"home/{'x' * 150}/{'é' * 60}"
    return [archive((contents.REGISTRY, b"db" * 300), ("home/keys/a.pem", b"k")), archive((long, b"1"))]


def open_archive() -> object:
    return lambda raw: restore.members(io.BytesIO(raw), _take, "b")


def _take(member: tarfile.TarInfo, data: io.BufferedIOBase) -> None:
    contents.checked(member.name)
    while data.read(1000):
        pass


def sealed_seeds() -> list[bytes]:
    seeds = []
    for size in (0, 700, 70_000):
        sink = io.BytesIO()
        sealer = sealed.Sealer(sink, PHRASE, work=2)
        sealer.write(bytes(size))
        sealer.finish()
        seeds.append(sink.getvalue())
    return seeds


def open_sealed() -> object:
    file = Path(scratch_folder()) / "b"

    def read(raw: bytes) -> None:
        file.write_bytes(raw)
        with file.open("rb") as source:
            opener = sealed.Opener(source, PHRASE, "b")
            while opener.read(1000):
                pass

    return read


TAR_TOKENS = (b"../", b"\0" * 512, b" path=/etc/x\n", b"99999999999")
READERS = (
    ("backup", sealed_seeds, open_sealed, (BackupError,), (b"skerry-backup\n\x01\x12",), True),
    (
        "backup_archive",
        archive_seeds,
        open_archive,
        (BackupError,),
        (b"../", b"\0" * 512, b" path=/etc/x\n", b"99999999999"),
    ),
)
