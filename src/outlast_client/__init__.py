r"""The Python client of Outlast's HTTP API: async as `Client`, blocking as `SyncClient`.

    async with Client("http://127.0.0.1:8321", key) as client:
        async for frame in client.stream("support", "Where is my order?"):
            match frame.type:
                case "text_delta":
                    print(frame.data["text"], end="", flush=True)
                case "retry":  # the text since the last step is void: it is sent anew
                    print("\n(once more)")
                case "done":
                    print(f"\n{frame.data['execution']['usage']['totalTokens']} tokens")
                case "error":
                    print(f"\n{frame.data['code']}: {frame.data['message']}")

The same without `async`, of the server that OUTLAST_URL and OUTLAST_API_KEY name:

    with SyncClient() as client:
        for execution in client.each(client.list, status="failed"):
            print(execution["id"], execution["error"])

Responses are the API's JSON as dicts, typed by `outlast_client.types`. A broken stream is resumed
where it stopped, without gap or repetition; a request that starts an execution is retried with the
same Idempotency-Key.
"""

from outlast_client.asynchronous.client import Client, RawClient
from outlast_client.asynchronous.memory import MemoryClient
from outlast_client.blocking.client import SyncClient, SyncRawClient
from outlast_client.errors import (
    Conflict,
    Invalid,
    InvalidField,
    NotFound,
    OutlastError,
    Overloaded,
    Refused,
    Unauthorized,
    Unreachable,
)
from outlast_client.frames import Frame, FrameOf, frame
from outlast_client.wire import RawResponse

__all__ = [
    "Client",
    "Conflict",
    "Frame",
    "FrameOf",
    "Invalid",
    "InvalidField",
    "MemoryClient",
    "NotFound",
    "OutlastError",
    "Overloaded",
    "RawClient",
    "RawResponse",
    "Refused",
    "SyncClient",
    "SyncRawClient",
    "Unauthorized",
    "Unreachable",
    "frame",
]
