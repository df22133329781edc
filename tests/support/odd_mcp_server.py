"""An MCP server over stdio that speaks the oldest protocol, and does what its arguments say.

Arguments: FOLDER BEHAVIOUR. It uses the standard library alone, so it starts at once. What happens
is a line in `FOLDER/calls`; `FOLDER/renamed` renames the tool, `FOLDER/go` ends the waiting.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

FOLDER, BEHAVIOUR = Path(sys.argv[1]), sys.argv[2]
ODD_NAMES = ["wéird name!", "x" * 200, "y" * 64, "y" * 63 + "z", "plain", "plain"]


def note(line: str) -> None:
    with (FOLDER / "calls").open("a") as calls:
        calls.write(f"{line}\n")


def write(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    sys.stdout.flush()


def tool(name: str, **schema: Any) -> dict[str, Any]:
    return {"name": name, "description": "Does it.", "inputSchema": {"type": "object", **schema}}


def tools() -> list[dict[str, Any]]:
    match BEHAVIOUR:
        case "many" | "too_many":
            return [tool(f"tool_{n}") for n in range(500 if BEHAVIOUR == "many" else 2000)]
        case "names":
            return [tool(name) for name in ODD_NAMES]
        case "schemas":
            nowhere = {"a": {"$ref": "#/$defs/a"}}
            return [tool("good"), tool("bad", properties=nowhere)]
        case "bad_list":
            return [tool("good"), tool("odd", required=7)]
        case _ if (FOLDER / "renamed").exists():
            return [tool("other")]
        case _:
            return [tool("act")]


def call(request: int, params: dict[str, Any]) -> None:
    note(f"{params['name']} {os.getpid()}")
    match BEHAVIOUR:
        case "dies":
            sys.stderr.write("out of luck, with the key s3cret-token\n")
            sys.stderr.flush()
            os._exit(3)
        case "hangs":
            return
        case "garbage":
            sys.stdout.write("{this is not JSON\n\x00\xff\n{}\n[]\nnull\n" + '{"jsonrpc": "1"}\n')
            sys.stdout.flush()
        case "flood":
            while True:
                sys.stdout.write("x" * 65536)
        case "wrong":
            write({"id": request, "result": {"content": "what?"}})
            return
        case "error":
            write({"id": request, "error": {"code": -32602, "message": "Unknown tool: act"}})
            return
        case _:
            pass
    write({"id": request, "result": {"content": [{"type": "text", "text": env_text()}]}})
    if BEHAVIOUR == "renames":
        (FOLDER / "renamed").touch()
        write({"method": "notifications/tools/list_changed"})


def env_text() -> str:
    return json.dumps(dict(os.environ)) if BEHAVIOUR == "env" else "acted"


def answer(message: dict[str, Any]) -> None:
    request, params = message.get("id"), message.get("params", {})
    match message.get("method"):
        case "initialize":
            if BEHAVIOUR == "deaf":
                time.sleep(3600)
            info = {"name": "odd", "version": "0"}
            result = {"protocolVersion": "2024-11-05", "capabilities": {"tools": {}}}
            write({"id": request, "result": {**result, "serverInfo": info}})
        case "tools/list":
            listed = tools()
            at = int(params.get("cursor", 0))
            page: dict[str, Any] = {"tools": listed[at : at + 100]}
            if BEHAVIOUR == "endless":
                page = {"tools": [], "nextCursor": "0"}
            elif at + 100 < len(listed):
                page["nextCursor"] = str(at + 100)
            write({"id": request, "result": page})
        case "tools/call":
            call(request or 0, params)
        case "notifications/cancelled":
            note(f"cancelled {params['requestId']}")
        case _ if request is not None:
            write({"id": request, "error": {"code": -32601, "message": "Method not found"}})
        case _:
            pass


if __name__ == "__main__":
    note(f"started {os.getpid()}")
    if BEHAVIOUR == "crashes":
        sys.exit("there is no licence")
    if BEHAVIOUR == "stays":
        child = subprocess.Popen(["sleep", "3600"])
        note(f"child {child.pid}")
    for line in sys.stdin:
        answer(json.loads(line))
    if BEHAVIOUR == "stays":
        time.sleep(3600)
