"""The types of the TypeScript client, made by openapi-typescript from the schemas of the main room.

`python -m tests.support.typescript_types` writes them; a test compares the two.
"""

import subprocess
import tempfile
from pathlib import Path
from typing import Any, Final

import orjson

from outlast.reference import Reference
from outlast.rooms.executions import room
from outlast.web import ROOMS
from tests.support import npm
from tests.support.client_types import names_in, reached

FILE: Final = Path(__file__).parents[2] / "clients" / "typescript" / "src" / "api.ts"


def document() -> dict[str, Any]:
    """Return the OpenAPI document with nothing but the schemas of the main room."""
    whole = Reference(ROOMS).document()
    schemas = whole["components"]["schemas"]
    own = {endpoint.name for endpoint in room.endpoints}
    operations = [
        operation
        for item in whole["paths"].values()
        for operation in item.values()
        if operation["operationId"] in own
    ]
    kept = reached(names_in(operations), schemas)
    return {
        "openapi": whole["openapi"],
        "info": whole["info"],
        "paths": {},
        "components": {"schemas": {name: schemas[name] for name in sorted(kept)}},
    }


def made(packages: Path) -> str:
    """Return the whole file."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "openapi.json"
        place.write_bytes(orjson.dumps(document()))
        command = [packages / "node_modules" / ".bin" / "openapi-typescript", place]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout


if __name__ == "__main__":
    FILE.write_text(made(npm.installed()))
