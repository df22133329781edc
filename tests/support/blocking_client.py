"""The blocking client, made from the async one word by word; a test compares the two.

`python -m tests.support.blocking_client` writes it.
"""

import re
import subprocess
import sys
from pathlib import Path
from typing import Final

SOURCE: Final = Path(__file__).parents[2] / "src" / "outlast_client"
_HEAD: Final = "# Made from outlast_client.asynchronous by tests.support.blocking_client.\n"
_WORDS: Final = (
    (r"outlast_client\.asynchronous\.", "outlast_client.blocking."),
    (r"`outlast_client\.blocking` is made from this package", "made from the async one"),
    (r"\basync (def|with|for) ", r"\1 "),
    (r"\bawait ", ""),
    (r"\bAsyncGenerator\[(.+), None\]", r"Generator[\1, None, None]"),
    (r"\bAsyncGenerator\b", "Generator"),
    (r"\bAwaitable\[Any\]", "Any"),
    (r"\bAwaitable, ", ""),
    (r"\bCallable, Generator, ", "Callable, Generator, "),
    (r"\baclosing\b", "closing"),
    (r"\b__aenter__\b", "__enter__"),
    (r"\b__aexit__\b", "__exit__"),
    (r"\baclose\b", "close"),
    (r"\baread\b", "read"),
    (r"\baiter_bytes\b", "iter_bytes"),
    (r"\bAsyncBaseTransport\b", "BaseTransport"),
    (r"\bAsyncClient\b", "Client"),
    (r"(?<!Sync)\b(System)?Clock\b", r"Sync\1Clock"),
    (r"\bMemoryClient\b", "SyncMemoryClient"),
    (r"\bclass (Raw)?Client\b", r"class Sync\1Client"),
    (r"\(Client\):", "(SyncClient):"),
    (r"\bRawClient\b", "SyncRawClient"),
    (r'bound="Client"', 'bound="SyncClient"'),
    (r'"""The async client', '"""The blocking client'),
)


def made() -> dict[Path, str]:
    """Return the text of each file of the blocking client."""
    found = {}
    for path in sorted((SOURCE / "asynchronous").glob("*.py")):
        text = path.read_text()
        for word, instead in _WORDS:
            text = re.sub(word, instead, text)
        found[SOURCE / "blocking" / path.name] = _formatted(_HEAD + text)
    return found


def _formatted(text: str) -> str:
    ruff = Path(sys.executable).with_name("ruff")
    name = str(SOURCE / "blocking" / "made.py")
    for command in (("check", "--select", "I,UP", "--fix", "--unsafe-fixes"), ("format",)):
        text = subprocess.run(
            [ruff, *command, "--quiet", "--stdin-filename", name, "-"],
            input=text,
            capture_output=True,
            text=True,
            check=True,
            cwd=SOURCE.parents[1],
        ).stdout
    return text


if __name__ == "__main__":
    for path, text in made().items():
        path.write_text(text)
