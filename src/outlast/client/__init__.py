"""The Python client, for those who have the server installed: `outlast_client` by its first name.

`pip install outlast-client` brings the same without the server.
"""

from outlast_client import (
    Client,
    Conflict,
    Frame,
    Invalid,
    InvalidField,
    MemoryClient,
    NotFound,
    OutlastError,
    Overloaded,
    Refused,
    SyncClient,
    Unauthorized,
    Unreachable,
)

__all__ = [
    "Client",
    "Conflict",
    "Frame",
    "Invalid",
    "InvalidField",
    "MemoryClient",
    "NotFound",
    "OutlastError",
    "Overloaded",
    "Refused",
    "SyncClient",
    "Unauthorized",
    "Unreachable",
]
