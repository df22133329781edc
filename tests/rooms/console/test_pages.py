"""Pages as they are sent, compared whole."""

import os
import re
from pathlib import Path
from typing import Final

import pytest

import outlast.rooms.console
from tests.support.api import Api
from tests.support.console import Reader
from tests.support.databases import SQLITE

pytestmark = [pytest.mark.anyio, pytest.mark.only(SQLITE)]
GOLDEN: Final = Path(outlast.rooms.console.__file__).parent / "golden"
WRITE: Final = os.environ.get("OUTLAST_GOLDEN") == "write"


def compare(name: str, page: str) -> None:
    """Compare a page with the one that is kept, or keep it."""
    path = GOLDEN / f"{name}.html"
    page = re.sub(r"/static/[0-9a-f]{16}/", "/static/DIGEST/", page)
    if WRITE:
        path.write_text(page)
    assert page == path.read_text(), f"OUTLAST_GOLDEN=write keeps {path.name}"


async def test_sign_in(api: Api) -> None:
    compare("sign_in", await Reader(api).page("/console/sign-in?next=/console/usage"))
