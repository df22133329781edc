"""What `outlast doctor` finds, in this process."""

import tempfile
from pathlib import Path
from typing import Any

from outlast.cli.doctor import examine
from outlast.model.clock import Clock
from outlast.services.findings import Finding
from outlast.settings import Settings


async def findings(url: str, clock: Clock | None = None, **settings: Any) -> dict[str, Finding]:
    """Every check by its name, for these settings and a data folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        chosen = Settings(database_url=url, data_dir=Path(folder), port=0, **settings)
        return {finding.check: finding async for finding in examine(chosen, clock)}
