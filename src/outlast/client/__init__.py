r"""The Python client of the HTTP API.

    async with Client("http://127.0.0.1:8321", key) as client:
        async for frame in client.stream("support", "Where is my order?"):
            match frame.type:
                case "text_delta":
                    print(frame.data["text"], end="", flush=True)
                case "retry":  # the text since the last step is void: it comes anew
                    print("\n(once more)")
                case "done":
                    print(f"\n{frame.data['execution']['usage']['totalTokens']} tokens")
                case "error":
                    print(f"\n{frame.data['code']}: {frame.data['message']}")

Answers are the API's JSON as dicts. A stream that breaks is taken up again where it stood, with no
gap and no repeat; a request that starts an execution is sent again under the same Idempotency-Key.
"""

from outlast.client.client import Client
from outlast.client.connection import Frame, Refused, Unreachable

__all__ = ["Client", "Frame", "Refused", "Unreachable"]
