"""The kinds of databases, for what must not import Outlast to name them."""

from typing import Final

SQLITE: Final = "sqlite"
POSTGRESQL: Final = "postgresql"
KINDS: Final = (SQLITE, POSTGRESQL)
