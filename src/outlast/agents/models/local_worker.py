"""The child process of a local model: llama.cpp behind two pipes, nothing of Outlast imported.

JSON lines. Parent to child on stdin: `{"id": 1, "body": {…chat completion…}}`, `{"cancel": 1}`.
Child to parent on stdout: `{"ready": true}` or `{"failed": "why"}` once; then per request any
number of `{"id": 1, "text": "…"}` and exactly one `{"id": 1, "end": {…}}` or
`{"id": 1, "error": {…}}`. Requests are served one at a time in their order. The process ends when
stdin closes, as it does however the parent dies.
"""

import json
import os
import queue
import secrets
import sys
import threading
from collections.abc import Callable
from typing import Any, Final

CONTEXT_TOKENS: Final = 8192
"""Context window of any model, which bounds its memory; less if it was trained on less."""

PROMPT_BATCH: Final = 64
"""Tokens of a prompt processed between two checks for a cancel."""

Send = Callable[[dict[str, Any]], None]


class Worker:
    """Serves requests from a queue in one thread; another thread delivers cancels."""

    def __init__(self, server: Any, send: Send) -> None:
        self._server = server
        self._send = send
        self._requests: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self._cancelled = 0

    def receive(self, message: dict[str, Any]) -> None:
        """Process one line of the parent."""
        if "cancel" in message:
            self._cancelled = max(self._cancelled, message["cancel"])
        else:
            self._requests.put(message)

    def serve(self) -> None:
        """Answer requests until the process ends."""
        while True:
            request = self._requests.get()
            self._answer(request["id"], request["body"])

    def _answer(self, number: int, body: dict[str, Any]) -> None:
        answer = _Answer(number, self._send, lambda: self._cancelled >= number)
        try:
            self._server.handle_chat_completions(body, answer.receive)
        except Exception as error:  # noqa: BLE001 - the parent gets every error
            answer.error = {"code": 500, "message": str(error)}
        answer.finish()


class _Answer:
    """Turns llama.cpp's chunks of one answer into lines for the parent."""

    def __init__(self, number: int, send: Send, is_cancelled: Callable[[], bool]) -> None:
        self._number = number
        self._send = send
        self._is_cancelled = is_cancelled
        self._finish_reason = "stop"
        self._usage: dict[str, Any] = {}
        self.error: dict[str, Any] | None = None

    def receive(self, chunk: dict[str, Any]) -> bool:
        """Process one chunk; return True to stop the generation."""
        if "error" in chunk:
            self.error = chunk["error"]
        for choice in chunk.get("choices", ()):
            self._finish_reason = choice.get("finish_reason") or self._finish_reason
            if text := choice["delta"].get("content"):
                self._send({"id": self._number, "text": text})
        self._usage = chunk.get("usage") or self._usage
        return self._is_cancelled()

    def finish(self) -> None:
        """Send the end of the answer."""
        if self.error is not None:
            self._send({"id": self._number, "error": self.error})
            return
        end = {"finish_reason": self._finish_reason, "usage": self._usage}
        self._send({"id": self._number, "end": end})


def load(path: str, threads: int) -> Any:
    """Load a GGUF file; raises what llama.cpp raises."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = path
    params.cpuparams.n_threads = threads
    params.cpuparams_batch.n_threads = threads
    params.n_ctx = CONTEXT_TOKENS
    params.n_batch = PROMPT_BATCH
    params.n_ubatch = PROMPT_BATCH
    params.n_parallel = 2  # two prompts remembered: that of the arguments and that of the answer
    params.kv_unified = True
    params.cache_ram_mib = 0
    params.verbosity = 1  # errors alone
    # llama.cpp always opens an HTTP port on loopback too; no other process may use it.
    params.ui = False
    params.api_keys = [secrets.token_urlsafe(32)]
    return xllamacpp.Server(params)


def take_stdout() -> Send:
    """Reserve stdout for the protocol; llama.cpp's output goes to stderr."""
    pipe = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    lock = threading.Lock()

    def send(message: dict[str, Any]) -> None:
        line = json.dumps(message).encode() + b"\n"
        with lock:
            view = memoryview(line)
            while view:
                view = view[pipe.write(view) :]

    return send


def main(path: str, threads: int) -> None:
    """Load, report that, then serve until stdin closes."""
    send = take_stdout()
    try:
        server = load(path, threads)
    except Exception as error:  # noqa: BLE001 - sent to the parent
        send({"failed": f"{type(error).__name__}: {error}"})
        sys.exit(1)  # llama.cpp writes its log in a thread of its own, which ends with the process
    worker = Worker(server, send)
    threading.Thread(target=worker.serve, daemon=True).start()
    send({"ready": True})
    for line in sys.stdin.buffer:
        worker.receive(json.loads(line))
    os._exit(0)  # llama.cpp's own threads are not waited for


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
