"""Reading archives that may be damaged, whatever they are packed with."""

import lzma
import tarfile
import zlib

import zstandard

DAMAGED = (
    tarfile.TarError, EOFError, ValueError, zlib.error, lzma.LZMAError, zstandard.ZstdError, KeyError, RecursionError,
)  # fmt: skip
"""What reading one raises; the last two where a link in it leads nowhere, or to itself."""


def read_to_its_end(archive: tarfile.TarFile) -> None:
    """A packed file has its check sum there. Raises what `DAMAGED` holds, or `OSError`."""
    while archive.fileobj is not None and archive.fileobj.read(2**20):
        pass
