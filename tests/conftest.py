"""Fixtures that every test may use."""

from collections.abc import Iterator
from typing import Any

import pytest
import structlog


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    """The event loop that the server uses."""
    return "asyncio", {"use_uvloop": True}


@pytest.fixture(autouse=True)
def _logs_as_before() -> Iterator[None]:
    """A test that sets up logs leaves them as they were."""
    yield
    structlog.reset_defaults()
