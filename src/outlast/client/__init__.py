r"""The Python client of the HTTP API.

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

Responses are the API's JSON as dicts. A broken stream is resumed where it stopped, without gap or
repetition; a request that starts an execution is retried with the same Idempotency-Key.
"""

from outlast.client.client import Client
from outlast.client.connection import Frame, Refused, Unreachable
from outlast.client.memory import MemoryClient

__all__ = ["Client", "Frame", "MemoryClient", "Refused", "Unreachable"]
