"""A server whose agents do what a console has to show, by what they are given to do."""

import json
from typing import Final

from tests.support.processes import ServerProcess
from tests.support.waiting import until_found

WORDS: Final = " ".join(f"word{n}" for n in range(120))
LONG: Final = "Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft" * 2
NAME: Final = "a" * 64
"""The longest that an agent or a tool may have."""
DEEP: Final = "\n".join(f"{'> ' * depth}deep" for depth in range(1, 20))
_LONG_NAMES: Final = f"""
agents:
  - name: {NAME}
    model: scripted:script.yaml
    tools:
      - name: {NAME}
        description: Do {LONG}.
        http: {{url: TOOLS}}
        approval: true
        effect: destructive
        parameters:
          type: object
          properties:
            {LONG}: {{type: string, enum: [{LONG}, none], description: {LONG}}}
            note: {{type: string}}
"""
_USUAL: Final = """\
  - name: writer
    instructions: Write.
    model: scripted:script.yaml
  - name: support
    model: scripted:script.yaml
    tools:
      - builtin: calculator
      - name: refund
        description: Refund an order.
        http: {url: TOOLS}
        approval: true
        effect: destructive
        parameters:
          type: object
          properties:
            order: {type: string, description: The number of the order.}
            amount: {type: number}
            notify: {type: boolean}
          required: [order, amount]
      - name: ship
        description: Ship an order.
        http: {url: TOOLS}
        effect: destructive
        parameters: {type: object}
      - agent: writer
        description: Ask the writer.
  - name: phone
    model: scripted:script.yaml
    tools:
      - {name: locate, client: true, description: Where it is., parameters: {type: object}}
  - name: lead
    model: scripted:script.yaml
    tools:
      - agent: support
        description: Ask the support.
"""
AGENTS: Final = _LONG_NAMES + _USUAL
SCRIPT: Final = f"""
turns:
  - when: story
    steps:
      - thinking: I must write {LONG} now.
        text: "{WORDS}"
        delay_ms: 20
  - when: sum
    steps:
      - text: Let me see.
        tool_calls: [{{name: calculator, parameters: {{expression: 6*7}}}}]
      - text: "It is **42**, see [the sum](https://example.com) and `6*7`."
  - when: refund
    steps:
      - text: I refund what you paid.
        tool_calls: [{{name: refund, parameters: {{order: "A-1", amount: 12.5}}}}]
      - text: Refunded.
  - when: ship
    steps:
      - tool_calls: [{{name: ship, parameters: {{order: B-2}}}}]
      - text: Shipped.
  - when: delegate
    steps:
      - tool_calls: [{{name: support, parameters: {{input: "ask"}}}}]
      - text: The support has answered.
  - when: ask
    steps:
      - tool_calls: [{{name: writer, parameters: {{input: "a story"}}}}]
      - text: The writer has written.
  - when: hidden
    steps:
      - text: {json.dumps(DEEP)}
        tool_calls: [{{name: {NAME}, parameters: {{{LONG}: {LONG}, note: "a\\u202eb\\u200bc"}}}}]
      - text: Done.
  - when: locate
    steps:
      - tool_calls: [{{name: locate, parameters: {{accuracy: high}}}}]
      - text: I see.
  - when: hold
    steps:
      - text: "Holding on for a long time indeed"
        delay_ms: 60000
  - when: trouble
    steps:
      - text: This much
        fail: {{code: model_rejected, message: "not today, {LONG}"}}
  - steps:
      - text: "You said: {{input}}"
"""


def url_of(server: ServerProcess) -> str:
    return f"http://127.0.0.1:{server.port}"


async def approval_of(server: ServerProcess, run: str) -> str:
    """The path of the page of its only call that waits."""
    (call,) = (await server.execution(run))["pendingApprovals"]
    return f"/console/approvals/{run}/{call['toolCallId']}"


async def conversation_of(server: ServerProcess, run: str) -> str:
    return str((await server.execution(run))["conversationId"])


async def reaches(server: ServerProcess, run: str, status: str) -> None:
    """Return once the execution has the status."""

    async def has() -> bool:
        return bool((await server.execution(run))["status"] == status)

    await until_found(has)
