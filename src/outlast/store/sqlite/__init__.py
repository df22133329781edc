"""The store on one SQLite file."""

from outlast.store.sqlite.driver import SqliteDriver

__all__ = ["SqliteDriver"]
