"""Shared by the tables of all subjects: metadata, column helpers, JSON as text."""

from typing import Any, Final

import orjson
from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    Column,
    Index,
    MetaData,
    Text,
    bindparam,
    cast,
    false,
    func,
    text,
)
from sqlalchemy.engine import Dialect
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.expression import (
    ColumnElement,
    Executable,
    FromClause,
    Insert,
    TableValuedAlias,
)
from sqlalchemy.types import TypeDecorator, TypeEngine

metadata: Final = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "pk": "pk_%(table_name)s",
    }
)


class Json(TypeDecorator[Any]):
    """JSON sent as text; Postgres stores it as JSONB."""

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Return the type in this database; the other database's types are not loaded."""
        if dialect.name != "postgresql":
            return dialect.type_descriptor(Text())
        from sqlalchemy.dialects.postgresql import JSONB

        return dialect.type_descriptor(JSONB())


JSON: Final[TypeEngine[Any]] = Json()
ID: Final[TypeEngine[str]] = Text().with_variant(Text(collation="C"), "postgresql")


def identifier(name: str, *, primary_key: bool = False, nullable: bool = False) -> Column[str]:
    return Column(name, ID, primary_key=primary_key, nullable=nullable)


def time(name: str, *, nullable: bool = False) -> Column[int]:
    return Column(name, BigInteger, nullable=nullable)


def json(name: str) -> Column[Any]:
    return Column(name, JSON, nullable=False)


def count(name: str, *, nullable: bool = False) -> Column[int]:
    return Column(name, BigInteger, nullable=nullable)


def flag(name: str) -> Column[bool]:
    return Column(name, Boolean(create_constraint=False), nullable=False)


def added_count(name: str) -> Column[int]:
    """Return a column for a count that older rows have as 0."""
    return Column(name, BigInteger, nullable=False, server_default="0")


def added_flag(name: str) -> Column[bool]:
    """Return a column for a flag that older rows have as false."""
    return Column(name, Boolean(create_constraint=False), nullable=False, server_default=false())


def index_of_some(table: str, name: str, *columns: str) -> Index:
    """Return an index of the rows in which this column is not null."""
    return Index(f"ix_{table}_{name}", *columns, sqlite_where=text(f"{name} IS NOT NULL"))


class ByDatabase(Executable, ColumnElement[bool]):
    """A condition or a statement that each database spells in its own way."""

    inherit_cache = False

    def __init__(self, sqlite: str, postgres: str) -> None:
        """`sqlite` names parameters as `:name`, `postgres` as `%(name)s`."""
        self.texts = {"sqlite": sqlite, "postgresql": postgres}


@compiles(ByDatabase)
def _text_of(element: ByDatabase, compiler: Any, **_: Any) -> str:
    return element.texts[compiler.dialect.name]


def given(**types: TypeEngine[Any]) -> TableValuedAlias:
    """Return a table of Postgres whose columns are parameters: arrays of these types."""
    arrays = (cast(bindparam(name), ARRAY(kind)) for name, kind in types.items())
    return func.unnest(*arrays).table_valued(*types, name="given").render_derived()


class Upsert(Insert):
    """An insert of whole rows that replaces a row of the same primary key."""

    inherit_cache = False


@compiles(Upsert)
def _replacing(element: Upsert, compiler: SQLCompiler, **more: Any) -> str:
    inserting: str = compiler.visit_insert(element, **more)  # type: ignore[no-untyped-call]
    return f"{inserting} {replacing(element.table)}"


class InsertOrLock(Insert):
    """An insert of a whole row that leaves a row of the same primary key, and locks it."""

    inherit_cache = False


@compiles(InsertOrLock)
def _leaving(element: InsertOrLock, compiler: SQLCompiler, **more: Any) -> str:
    inserting: str = compiler.visit_insert(element, **more)  # type: ignore[no-untyped-call]
    key = [column.name for column in element.table.primary_key]
    same = f"{key[0]} = excluded.{key[0]}"
    return f"{inserting} ON CONFLICT ({', '.join(key)}) DO UPDATE SET {same} WHERE 1 = 0"


def replacing(table: FromClause) -> str:
    """Return what makes an insert into a table an upsert, in both databases."""
    key = [column.name for column in table.primary_key]
    others = [column.name for column in table.c if column.name not in key]
    sets = ", ".join(f"{name} = excluded.{name}" for name in others)
    return f"ON CONFLICT ({', '.join(key)}) DO UPDATE SET {sets}"


def to_json(value: Any) -> str:
    """Return JSON as text; dataclasses become objects."""
    return orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS).decode()
