"""Where a golden transcript is played: one agent, its script, and the requests that are made.

    agent:
      name: desk
      instructions: Be brief.            # default: none
      code: tests.support.golden_functions:half  # its loop; default: the server's own
      tools: [{name: calculator, more: {builtin: calculator, approval: true}}]
    script: {turns: […]}                 # of its model, see `agents.models.scripted`
    requests:
      - method: POST
        path: "/v1/executions/{execution}/approvals/{call[0]}"
        headers: {Idempotency-Key: once}
        body: '{"approved":true}'
        until: tool.started              # go on once the log has said this anew
        restart: true                    # then the server dies where it stands, and starts again
        rest: true                       # go on once the execution rests
        later: 60                        # then let so many seconds pass, and what is due be done
        ended: true                      # then go on once every execution of the agent rests

`{execution}` is the id in the last answer's header; `{call[0]}`, `{checkpoint[0]}`,
`{conversation[0]}`, `{key[0]}`, `{schedule[0]}`, `{store[0]}`, `{item[0]}` and `{ticket}` are taken
from earlier answers. A tool's effect is read_only unless `more` says another.
"""

import asyncio
import re
from contextlib import AsyncExitStack, aclosing
from typing import Any, Final

from outlast.agents.code import CodeFunctions
from outlast.agents.models.scripted import ScriptedModel
from outlast.agents.tools.toolbox import ToolBox
from outlast.engine.maintenance.due_schedules import FIRE_SCHEDULES
from outlast.engine.maintenance.due_tasks import DUE_TASKS
from outlast.model.agent import AgentSpec, Effect, ToolSpec
from outlast.model.event import START, Cursor, Entry
from outlast.model.event_codec import encode
from outlast.testing import FakeClock, NamedModels, owner
from tests.support.api import Api
from tests.support.databases import Database
from tests.support.waiting import BOUND

_START: Final = 1_773_570_600_000
_HIDDEN: Final = ("date", "server")
_IDS: Final = {
    "call": r"\btc_\w{26}",
    "checkpoint": r"\bcp_\w{26}",
    "conversation": r"\bconv_\w{26}",
    "key": r"\bkey_\w{26}",
    "schedule": r"\bsch_\w{26}",
    "store": r"\bmem_\w{26}",
    "item": r"\bitem_\w{26}",
}

_SECRET: Final = re.compile(r"sk_outlast_[\w-]+")


class Transcript:
    """Plays one file."""

    def __init__(self, play: dict[str, Any], database: Database) -> None:
        self._play, self._database = play, database
        self._clock = FakeClock(_START)
        self._known: dict[str, Any] = {name: [] for name in _IDS}
        self._house: Api | None = None
        self._stack = AsyncExitStack()

    @property
    def api(self) -> Api:
        assert self._house is not None
        return self._house

    async def text(self) -> str:
        """The transcript."""
        try:
            await self._open()
            shown = [await self._exchange(request) for request in self._play["requests"]]
            if log := await self._log():
                shown.append(log)
        finally:
            await self._stack.aclose()
        return "\n".join(shown)

    # --- the server

    async def _open(self) -> None:
        """Start the server; the second time with who was there before."""
        core = await self._stack.enter_async_context(
            self._database.core(
                models=NamedModels(
                    {"scripted": ScriptedModel.from_data(self._play["script"], self._clock)}
                ),
                tools=ToolBox(self._clock),
                code=CodeFunctions(),
                clock=self._clock,
                drain_seconds=0,
            )
        )
        await core.maintenance.hold(
            DUE_TASKS, FIRE_SCHEDULES
        )  # what is due is done where a file says `later`
        before = self._house
        if before is None:
            caller = await owner(core)
            key = (await core.services.keys.create(caller.workspace_id, "golden")).secret
            await core.services.agents.put(
                caller.workspace_id, [(_agent(self._play["agent"]), "1")]
            )
        else:
            caller, key = before.caller, before.key
        self._house = Api(core, caller, key)
        self._stack.push_async_callback(self._house.client.aclose)

    async def _restart(self) -> None:
        """Leave without grace, which abandons what runs as a crash does, and start again."""
        await self._stack.aclose()
        await self._open()

    # --- requests

    async def _exchange(self, request: dict[str, Any]) -> str:
        """Make one request and tell it."""
        path = self._filled(request["path"])
        headers = {"X-Request-Id": "golden"} | request.get("headers", {})
        body = self._filled(request["body"]) if "body" in request else None
        known = await self._entries()
        response = await self.api.client.request(
            request["method"], path, content=body, headers=headers
        )
        self._learn(response.headers.get("x-execution-id"), response.text)
        await self._go_on(request, known[-1].cursor if known else START)
        request_lines = [
            f">>> {request['method']} {path}",
            *(f"{k}: {v}" for k, v in headers.items()),
            "",
        ]
        request_lines += [body, ""] if body else []
        answered = [f"<<< {response.status_code}"]
        answered += [f"{k}: {v}" for k, v in sorted(response.headers.items()) if k not in _HIDDEN]
        return self._masked("\n".join([*request_lines, *answered, "", response.text]))

    async def _go_on(self, request: dict[str, Any], heard: Cursor) -> None:
        """What is to happen before the next request."""
        if kind := request.get("until"):
            await self._until(kind, heard)
        if request.get("restart"):
            await self._restart()
        if request.get("rest"):
            await self.api.rested(self._known["execution"])
        if seconds := request.get("later"):
            self._clock.advance(seconds)
            await self.api.core.maintenance.run(DUE_TASKS)
            await self.api.core.maintenance.run(FIRE_SCHEDULES)
        if request.get("ended"):
            for one in (await self.api.get("/v1/executions")).json()["data"]:
                await self.api.rested(one["id"])

    async def _until(self, kind: str, heard: Cursor) -> None:
        follow = self.api.core.services.executions.follow(
            self.api.caller, self._known["execution"], heard
        )
        async with asyncio.timeout(BOUND), aclosing(follow) as batches:
            async for entries in batches:
                if any(entry.event.kind == kind for entry in entries):
                    break

    def _learn(self, execution: str | None, text: str) -> None:
        """Remember what an answer tells."""
        if execution is not None:
            self._known["execution"] = execution
        for name, pattern in _IDS.items():
            shown = re.findall(pattern, text)
            self._known[name] = list(dict.fromkeys([*self._known[name], *shown]))
        if ticket := re.search(r'"ticket":"([^"]+)"', text):
            self._known["ticket"] = ticket[1]

    def _filled(self, text: str) -> str:
        """The text with what is known in place of its names; JSON's own braces stay."""

        def known(found: re.Match[str]) -> str:
            return found[0].format(**self._known)

        return re.sub(
            rf"\{{(?:execution|ticket|(?:{'|'.join(_IDS)})\[\d+\])\}}",
            known,
            text,
        )

    def _masked(self, text: str) -> str:
        """Tickets and the secrets of keys are others in every run."""
        ticket = self._known.get("ticket")
        text = text if ticket is None else text.replace(ticket, "TICKET")
        return _SECRET.sub("SECRET", text)

    async def _entries(self) -> list[Entry]:
        """The log of the last execution as far as it goes; nothing where it has been deleted."""
        if "execution" not in self._known:
            return []
        executions = self.api.core.services.executions
        return await executions.log(self.api.caller, self._known["execution"])

    async def _log(self) -> str | None:
        lines = [
            f"{entry.cursor} {entry.event.kind} {encode(entry.event).decode()}"
            for entry in await self._entries()
        ]
        return "\n".join(["=== log", *lines, ""]) if lines else None


def _agent(given: dict[str, Any]) -> AgentSpec:
    tools = tuple(_tool(**tool) for tool in given.get("tools", ()))
    return AgentSpec(
        given["name"],
        "scripted",
        given.get("instructions", ""),
        tools=tools,
        code=given.get("code"),
    )


def _tool(name: str, more: dict[str, Any]) -> ToolSpec:
    effect = Effect(more.get("effect", Effect.READ_ONLY))
    return ToolSpec(name, name, {"type": "object"}, **more | {"effect": effect})
