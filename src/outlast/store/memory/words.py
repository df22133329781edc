"""The index of items' words, which `model.words` makes.

SQLite has them in an index of FTS5, which triggers keep, Postgres in an index over a tsvector (see
docs/decisions/memory-stores.md). A search that has all words finds the same items on both.
"""

from collections.abc import Sequence
from typing import Any, Final

from outlast.model.words import words_of
from outlast.store.tables import ByDatabase, to_json

_INDEXED: Final = "array_to_tsvector(string_to_array(words, ' '))"
INDEX: Final[dict[str, tuple[str, ...]]] = {
    "sqlite": (
        (
            "CREATE VIRTUAL TABLE memory_words USING fts5(words, content='memory_items', "
            "content_rowid='number', tokenize='ascii', detail='none', columnsize=0)"
        ),
        (
            "CREATE TRIGGER memory_items_inserted AFTER INSERT ON memory_items BEGIN "
            "INSERT INTO memory_words(rowid, words) VALUES (new.number, new.words); END"
        ),
        (
            "CREATE TRIGGER memory_items_deleted AFTER DELETE ON memory_items BEGIN "
            "INSERT INTO memory_words(memory_words, rowid, words) "
            "VALUES ('delete', old.number, old.words); END"
        ),
        (
            "CREATE TRIGGER memory_items_updated AFTER UPDATE OF words ON memory_items BEGIN "
            "INSERT INTO memory_words(memory_words, rowid, words) "
            "VALUES ('delete', old.number, old.words); "
            "INSERT INTO memory_words(rowid, words) VALUES (new.number, new.words); END"
        ),
    ),
    "postgresql": (
        (
            f"CREATE INDEX ix_memory_items_words ON memory_items USING gin ({_INDEXED}) "
            "WITH (fastupdate = off)"
        ),
    ),
}
"""The index of words, for which SQLAlchemy has no words: what a migration makes after the tables.

The words are a set, so no positions are kept; ASCII letters and digits and all other characters
make words, so neither database cuts them again.
"""

HAS_WORDS: Final = ByDatabase(
    "memory_items.number IN (SELECT rowid FROM memory_words WHERE memory_words MATCH :matched)",
    f"{_INDEXED} @@ CAST(%(matched_by)s AS tsquery)",
)


OF_NEWEST: Final = ByDatabase(
    "NOT EXISTS (SELECT 1 FROM json_each(:each) AS word "
    "WHERE instr(' ' || newest.words || ' ', ' ' || word.value || ' ') = 0)",
    "NOT EXISTS (SELECT FROM unnest(string_to_array(%(each_of)s, ' ')) AS word "
    "WHERE strpos(' ' || newest.words || ' ', ' ' || word || ' ') = 0)",
)
"""The same of a few rows that are read anyway, called `newest`."""


def indexed(store_id: str, key: str, content: str) -> str:
    """Return the words of an item as the index has them."""
    mark = _mark(store_id)
    return " ".join(sorted(mark + word for word in words_of(f"{key}\n{content}")))


def matching(store_id: str, words: Sequence[str]) -> dict[str, Any]:
    """Return the parameters of a search for items of a store with all of these words."""
    mark = _mark(store_id)
    return {
        "matched": " ".join(f'"{mark}{word}"' for word in words),
        "matched_by": " & ".join(f"'{mark}{word}'" for word in words),
        "each": to_json([mark + word for word in words]),
        "each_of": " ".join(mark + word for word in words),
    }


def _mark(store_id: str) -> str:
    """Return what a store's words begin with: a search reads no other store's words.

    The rows of two stores with the same mark are still distinguished by their ids.
    """
    return store_id[-_MARK:]


_MARK: Final = 6
"""Characters of a store's id before each of its words."""
