"""Of what is deleted or redacted in a store with an embedding model, no vector is left."""

from pathlib import Path

import pytest

from outlast.engine.maintenance.erased_memory import ERASE
from outlast.model.embedding import SearchMode
from tests.support.databases import SQLITE, Database
from tests.support.embeddings import EmbeddingProvider
from tests.support.library import Library

pytestmark = pytest.mark.anyio

SEMANTIC = SearchMode.SEMANTIC


async def vectors(database: Database) -> int:
    return int(database.rows("SELECT count(*) FROM memory_vectors")[0][0])


def files_of(database: Database) -> list[bytes]:
    """What the files of a SQLite database hold."""
    if database.kind != SQLITE:
        return []
    path = Path(database.url.removeprefix("sqlite:///"))
    files = (path, path.with_name(path.name + "-wal"))
    return [file.read_bytes() for file in files if file.exists()]


async def test_the_vectors_of_what_is_deleted_are_deleted(
    library: Library, database: Database, provider: EmbeddingProvider
) -> None:
    await library.put("rex", "A hound")
    await library.put("anna", "Eats tofu")
    await library.embed()
    ((made,),) = database.rows("SELECT vector FROM memory_vectors ORDER BY item_id LIMIT 1")
    await library.memory.delete_item(library.caller, library.store.id, "rex")
    await library.core.maintenance.run(ERASE)
    assert not any(bytes(made) in file for file in files_of(database))
    assert await vectors(database) == 1
    assert await library.keys("puppy", SEMANTIC) == ["anna"]
    await library.put("waits", "A dog")
    await library.memory.delete(library.caller, library.store.id)
    assert await vectors(database) == 0
    sent = len(provider.requests)
    await library.embed()
    assert len(provider.requests) == sent


async def test_the_vector_of_a_redacted_text_is_gone(library: Library, database: Database) -> None:
    await library.put("rex", "A hound")
    await library.embed()
    ((item_id, made),) = database.rows("SELECT item_id, vector FROM memory_vectors")
    await library.put("rex", "Eats tofu")
    await library.memory.redact(library.caller, library.store.id, item_id, 1)
    assert database.rows("SELECT vector FROM memory_vectors") == [(None,)]
    assert not any(bytes(made) in file or b"hound" in file for file in files_of(database))
