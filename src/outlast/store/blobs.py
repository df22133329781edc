"""The bytes that tools bring beside their results: kept once in a workspace, by their content.

An execution that holds bytes has a reference to them. The reference is deleted with the
execution's content, and bytes that no other execution refers to in the same transaction. Both
writers lock the row of the bytes first, a reference's insert by its insert of the bytes, which
leaves and locks the row if it is there, so that bytes are not deleted while another transaction
refers to them.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Column,
    Index,
    LargeBinary,
    Table,
    Text,
    and_,
    any_,
    bindparam,
    cast,
    delete,
    select,
)
from sqlalchemy.sql.expression import ColumnElement

from outlast.model.image import Image, ImageNotFound, WholeImage
from outlast.store.driver import (
    Batch,
    BatchStatement,
    Driver,
    Part,
    Query,
    Statement,
    Transaction,
    TransactionResult,
)
from outlast.store.executions.tables import executions
from outlast.store.tables import InsertOrLock, Upsert, given, identifier, metadata, time

blobs: Final = Table(
    "blobs",
    metadata,
    identifier("workspace_id", primary_key=True),
    identifier("id", primary_key=True),
    Column("media_type", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("content", LargeBinary, nullable=False),
    time("at"),
)

blob_refs: Final = Table(
    "blob_refs",
    metadata,
    identifier("execution_id", primary_key=True),
    identifier("blob_id", primary_key=True),
    identifier("workspace_id"),
    Index(None, "workspace_id", "blob_id"),
    sqlite_with_rowid=False,
)

KEEP_BLOB: Final = Statement(InsertOrLock(blobs))
"""Leaves the same bytes if they are there: what is locked, Postgres writes no new version of."""

KEEP_REFERENCE: Final = Statement(Upsert(blob_refs))

_of_reference: Final = and_(
    blobs.c.workspace_id == blob_refs.c.workspace_id,
    blobs.c.id == blob_refs.c.blob_id,
)
_held: Final = select(blobs.c.workspace_id, blobs.c.id).join(blob_refs, _of_reference)


def _locking(*where: ColumnElement[bool]) -> Any:
    return _held.where(*where).order_by(blob_refs.c.blob_id).with_for_update(of=blobs)


LOCK_BLOBS: Final = BatchStatement(
    _locking(blob_refs.c.execution_id == bindparam("id")),
    arrays=_locking(blob_refs.c.execution_id == any_(cast(bindparam("id"), ARRAY(Text())))),
)
"""Selects and locks the bytes that executions refer to."""

LOCK_SOME_BLOBS: Final = Statement(
    _locking(blob_refs.c.execution_id == bindparam("id")).limit(bindparam("limit"))
)

_refs_of: Final = delete(blob_refs)
DELETE_REFERENCES: Final = BatchStatement(
    _refs_of.where(blob_refs.c.execution_id == bindparam("id")),
    arrays=_refs_of.where(blob_refs.c.execution_id == any_(cast(bindparam("id"), ARRAY(Text())))),
)

_some: Final = given(id=Text(), blob=Text())
DELETE_REFERENCE: Final = BatchStatement(
    _refs_of.where(
        blob_refs.c.execution_id == bindparam("id"), blob_refs.c.blob_id == bindparam("blob")
    ),
    arrays=_refs_of.where(
        blob_refs.c.execution_id == _some.c.id, blob_refs.c.blob_id == _some.c.blob
    ),
)

_unused: Final = given(workspace=Text(), blob=Text())
_no_reference: Final = (
    ~select(blob_refs.c.execution_id).where(_of_reference).correlate(blobs).exists()
)
DELETE_UNUSED: Final = BatchStatement(
    delete(blobs).where(
        blobs.c.workspace_id == bindparam("workspace"),
        blobs.c.id == bindparam("blob"),
        _no_reference,
    ),
    arrays=delete(blobs).where(
        blobs.c.workspace_id == _unused.c.workspace,
        blobs.c.id == _unused.c.blob,
        _no_reference,
    ),
)
"""Deletes bytes without references; the rows are locked, by an earlier statement."""

_BYTES: Final = select(blobs.c.id, blobs.c.media_type, blobs.c.size, blobs.c.content)

BLOB: Final = Statement(
    _BYTES.join(blob_refs, _of_reference)
    .join(executions, executions.c.id == blob_refs.c.execution_id)
    .where(
        blob_refs.c.execution_id == bindparam("id"),
        blob_refs.c.blob_id == bindparam("blob"),
        executions.c.workspace_id == bindparam("workspace"),
        executions.c.is_purged.is_(False),
    )
)

BLOBS: Final = BatchStatement(
    _BYTES.where(blobs.c.workspace_id == bindparam("workspace"), blobs.c.id == bindparam("blob")),
    arrays=_BYTES.where(blobs.c.workspace_id == _unused.c.workspace, blobs.c.id == _unused.c.blob),
)
"""Selects bytes that steps of the workspace refer to."""


def keep_images(
    workspace_id: str, execution_id: str, images: Iterable[WholeImage], at: int
) -> Part[None]:
    """Keep images for an execution, whose row is locked."""
    for new in sorted(images, key=lambda one: one.image.id):
        image = new.image
        row = {"workspace_id": workspace_id, "id": image.id, "media_type": image.media_type}
        yield Query(KEEP_BLOB, row | {"size": image.size, "content": new.data, "at": at})
        reference = {"execution_id": execution_id, "blob_id": image.id}
        yield Query(KEEP_REFERENCE, reference | {"workspace_id": workspace_id})


def forget_blobs(execution_ids: Sequence[str]) -> Part[None]:
    """Delete the references of executions, whose rows are locked, and bytes without others."""
    each = tuple({"id": one} for one in execution_ids)
    locked = yield Batch(LOCK_BLOBS, each)
    if locked:
        yield Batch(DELETE_REFERENCES, each)
        yield from _delete_unused(locked)


def forget_some_blobs(execution_id: str, limit: int) -> Part[int]:
    """Do the same for some references of one execution; return how many."""
    locked = yield Query(LOCK_SOME_BLOBS, {"id": execution_id, "limit": limit})
    if locked:
        each = tuple({"id": execution_id, "blob": blob_id} for _, blob_id in locked)
        yield Batch(DELETE_REFERENCE, each)
        yield from _delete_unused(locked)
    return len(locked)


def _delete_unused(locked: Iterable[tuple[Any, ...]]) -> Part[None]:
    found = sorted({(workspace_id, blob_id) for workspace_id, blob_id in locked})
    each = tuple({"workspace": workspace_id, "blob": blob_id} for workspace_id, blob_id in found)
    yield Batch(DELETE_UNUSED, each)


def _kept(row: tuple[Any, ...]) -> WholeImage:
    blob_id, media_type, size, content = row
    return WholeImage(Image(blob_id, media_type, size), bytes(content))


def _read(workspace_id: str, execution_id: str, image_id: str) -> Transaction[WholeImage]:
    of = {"workspace": workspace_id, "id": execution_id, "blob": image_id}
    rows = yield Query(BLOB, of)
    if not rows:
        raise ImageNotFound
    return TransactionResult(_kept(rows[0]))


def _read_some(workspace_id: str, image_ids: Sequence[str]) -> Transaction[dict[str, bytes]]:
    each = tuple({"workspace": workspace_id, "blob": one} for one in image_ids)
    rows = yield Batch(BLOBS, each)
    return TransactionResult({row[0]: bytes(row[-1]) for row in rows})


class ImageStore:
    """The images that executions hold."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    async def get(self, workspace_id: str, execution_id: str, image_id: str) -> WholeImage:
        """Return an image of an execution. Raises ImageNotFound."""
        return await self._driver.read(lambda: _read(workspace_id, execution_id, image_id))

    async def some(self, workspace_id: str, image_ids: Sequence[str]) -> dict[str, bytes]:
        """Return the bytes of images, by id; of those that are kept."""
        return await self._driver.read(lambda: _read_some(workspace_id, image_ids))
