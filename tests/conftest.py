"""Fixtures that every test may use."""

from typing import Any

import pytest


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    """The event loop that the server uses."""
    return "asyncio", {"use_uvloop": True}
