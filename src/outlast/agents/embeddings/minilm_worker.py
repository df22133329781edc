"""The child process of the local embedding model: numpy behind two pipes.

JSON lines, as of `models.local_worker`. Parent to child on stdin: `{"id": 1, "body": ["text", …]}`.
Child to parent on stdout: `{"ready": true}` or `{"failed": "why"}` once; then per request exactly
one `{"id": 1, "end": {"vectors": ["base64 of float32 …"], "tokens": 5}}` or
`{"id": 1, "error": "why"}`. The process ends when stdin closes, as it does however the parent dies.
"""

import base64
import json
import os
import sys
from pathlib import Path
from typing import Any, Final

WEIGHTS: Final = "model.safetensors"
VOCABULARY: Final = "vocab.txt"
_THREADS: Final = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")


class Worker:
    """Answers requests with a loaded model."""

    def __init__(self, folder: Path) -> None:
        """Load the model of a folder, and use it once: what is missing is known at the start."""
        from outlast.agents.embeddings.minilm import MOST_TOKENS, MiniLM
        from outlast.agents.embeddings.word_pieces import WordPieces

        self._most = MOST_TOKENS
        self._model = MiniLM(folder / WEIGHTS)
        with (folder / VOCABULARY).open(encoding="utf-8") as lines:
            self._pieces = WordPieces(lines)
        self.answer({"id": 0, "body": ["ready"]})

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return the answer to a request."""
        tokens = [self._pieces.numbers(text, self._most) for text in request["body"]]
        rows = self._model.embed(tokens).astype("<f4", copy=False)
        end = {
            "vectors": [base64.b64encode(row.tobytes()).decode() for row in rows],
            "tokens": sum(map(len, tokens)),
        }
        return {"id": request["id"], "end": end}


def main(folder: str, threads: str) -> None:
    """Load, report that, then serve until stdin closes."""
    os.environ |= dict.fromkeys(_THREADS, threads)  # before numpy is imported
    try:
        worker = Worker(Path(folder))
    except Exception as error:  # noqa: BLE001 - sent to the parent
        _send({"failed": f"{type(error).__name__}: {error}"})
        sys.exit(1)
    _send({"ready": True})
    for line in sys.stdin.buffer:
        request = json.loads(line)
        if "cancel" in request:  # what runs is short
            continue
        try:
            answer = worker.answer(request)
        except Exception as error:  # noqa: BLE001 - the parent gets every error
            answer = {"id": request["id"], "error": type(error).__name__}
        _send(answer)


def _send(message: dict[str, Any]) -> None:
    sys.stdout.buffer.write(json.dumps(message).encode() + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
