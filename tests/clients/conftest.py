"""The npm packages of the clients' tests."""

from pathlib import Path

import pytest

from tests.clients import npm


@pytest.fixture(scope="session")
def packages() -> Path:
    """The folder with the packages and our scripts."""
    return npm.installed()
