"""Which blobs the broker holds, as far as this plane put them there."""

from collections.abc import Sequence

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from skerry_agent.wire.blobs import BlobRef
from skerry_host.plane.registry.tables import BlobRow


def all_blobs(session: Session) -> Sequence[BlobRow]:
    """All that was published and not cleared."""
    return session.scalars(select(BlobRow)).all()


def add(session: Session, ref: BlobRef, now: float) -> None:
    """A blob is about to be published: kept before, so that even half of it will be cleared."""
    row = BlobRow(sha256=ref.sha256, chunks=ref.chunks, digests=ref.digests_sha256 is not None, published=now)
    session.merge(row)


def remove(session: Session, sha256: str) -> None:
    """A blob was cleared."""
    session.execute(delete(BlobRow).where(BlobRow.sha256 == sha256))
