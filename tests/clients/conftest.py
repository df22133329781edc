"""A server in a process of its own, and the npm packages, for the clients' tests."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support import npm
from tests.support.processes import ServerProcess

AGENTS = """
agents:
  - name: desk
    model: scripted:{script}
    tools: [{{builtin: calculator, approval: true}}]
"""
SCRIPT = """
turns:
  - when: long
    steps:
      - text: {before}
        tool_calls: [{{name: calculator, parameters: {{expression: 6 * 7}}}}]
      - text: {after} It is {{result}}.
  - when: twice
    steps:
      - text: Let me ask.
        tool_calls:
          - {{name: calculator, parameters: {{expression: 6 * 7}}}}
          - {{name: calculator, parameters: {{expression: 1 + 1}}}}
      - tool_calls: [{{name: calculator, parameters: {{expression: 2 + 2}}}}]
      - text: That is that.
  - when: locate
    steps:
      - text: Where are you?
        tool_calls: [{{name: locate, parameters: {{}}}}]
      - text: You are at {{result}}.
  - steps:
      - text: Let me ask.
        tool_calls: [{{name: calculator, parameters: {{expression: 6 * 7}}}}]
      - text: As you know, it is {{result}}, and that is that.
        delay_ms: 2
"""


def words(name: str, count: int) -> str:
    return " ".join(f"{name}{number}" for number in range(count))


@pytest.fixture(scope="session")
def packages() -> Path:
    """The folder with the packages and our scripts."""
    return npm.installed()


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[ServerProcess]:
    """An agent that needs an approval to calculate; for the input `long` it says 600 words."""
    script = tmp_path / "script.yaml"
    script.write_text(SCRIPT.format(before=words("b", 300), after=words("a", 300)))
    async with ServerProcess(tmp_path, AGENTS.format(script=script)) as serving:
        yield serving
