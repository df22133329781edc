"""The table of the process that leads maintenance; `leases` has its statements."""

from typing import Final

from sqlalchemy import Column, Table, Text

from outlast.store.columns import flag, metadata, time

maintenance_leases: Final = Table(
    "maintenance_leases",
    metadata,
    Column("name", Text, primary_key=True),
    Column("holder", Text, nullable=False),
    flag("works"),
    time("expires_at"),
)
"""One row, on Postgres: which process leads, whether it runs executions, and until when by the
database's clock. It saves work and decides nothing."""
