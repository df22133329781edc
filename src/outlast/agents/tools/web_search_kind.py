"""The kind `webSearch`: results of a search engine, of the operator's choice.

Requests and answers: docs.tavily.com/documentation/api-reference/endpoint/search,
docs.exa.ai/reference/search, api-dashboard.search.brave.com/app/documentation/web-search,
docs.searxng.org/dev/search_api.html.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, Final, Literal

from pydantic import Field

from outlast.agents.port import ToolContext
from outlast.agents.problem import Problem
from outlast.agents.tools.http_check import http_problems, variable_problems
from outlast.agents.tools.http_kind import HttpRunner, RouteEntry
from outlast.agents.tools.kind import Draft, Seconds, ToolEntry, ToolKind
from outlast.agents.tools.placeholders import VARIABLE
from outlast.agents.tools.request import request_not_ready
from outlast.model.agent import Effect, HttpCall, ToolSpec
from outlast.model.error import ToolFailed

KEY: Final = "webSearch"
_NAME: Final = "web_search"
_TEXT: Final = 1000
"""Characters of a result's text."""
_PARAMETERS: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {"query": {"type": "string", "minLength": 1, "maxLength": 400}},
    "required": ["query"],
    "additionalProperties": False,
}
_TAGS: Final = re.compile(r"</?(?:strong|b|em|mark)>")
"""Marks of what was found, which engines put into a text."""


@dataclass(frozen=True, slots=True)
class Engine:
    """How a search engine is called, and where its results are."""

    url: str
    call: Callable[[str, str, int], HttpCall]
    """Makes the request of URL, key and number of results."""
    results: tuple[str, ...]
    """Keys on the way to the list of results."""
    text: str
    """Key of a result's text."""
    key: str | None = None
    """The variable that holds the key by default; None: it needs none."""


def _tavily(url: str, key: str, count: int) -> HttpCall:
    body = {"query": "{query}", "max_results": count}
    return HttpCall(url, {"authorization": f"Bearer {key}"}, body=body)


def _exa(url: str, key: str, count: int) -> HttpCall:
    contents = {"text": {"maxCharacters": _TEXT}}
    body = {"query": "{query}", "numResults": count, "contents": contents}
    return HttpCall(url, {"x-api-key": key}, body=body)


def _brave(url: str, key: str, count: int) -> HttpCall:
    query = {"q": "{query}", "count": str(count)}
    return HttpCall(url, {"x-subscription-token": key}, method="GET", query=query)


def _searxng(url: str, _key: str, _count: int) -> HttpCall:
    return HttpCall(url, method="GET", query={"q": "{query}", "format": "json"})


ENGINES: Final[dict[str, Engine]] = {
    "tavily": Engine(
        "https://api.tavily.com/search", _tavily, ("results",), "content", "TAVILY_API_KEY"
    ),
    "exa": Engine("https://api.exa.ai/search", _exa, ("results",), "text", "EXA_API_KEY"),
    "brave": Engine(
        "https://api.search.brave.com/res/v1/web/search",
        _brave,
        ("web", "results"),
        "description",
        "BRAVE_API_KEY",
    ),
    "searxng": Engine("", _searxng, ("results",), "content"),
}


class WebSearchEntry(RouteEntry):
    provider: Literal["tavily", "exa", "brave", "searxng"]
    url: str | None = None
    api_key: str | None = None
    count: Annotated[int, Field(ge=1, le=20)] = 5
    timeout: Seconds = 30.0


class WebSearchRunner(HttpRunner):
    """Sends searches as HTTP tools are sent, and keeps title, URL and text of each result."""

    async def call(self, spec: ToolSpec, arguments: dict[str, Any], context: ToolContext) -> Any:
        tools, keys = await self.loaded(), spec.other[KEY]
        found = await tools.call(spec, _http(spec), arguments, context)
        engine = ENGINES[keys["provider"]]
        for key in engine.results:
            found = found.get(key) if isinstance(found, dict) else None
        if found is None and keys["provider"] == "brave":
            found = []  # nothing was found: the answer has no results of the web
        if not isinstance(found, list):
            raise ToolFailed(f"{keys['provider']} answered with something that is not results.")
        results = [_result(one, engine.text) for one in found if isinstance(one, dict)]
        return {"results": results[: keys["count"]]}

    async def warm_up(self) -> None:
        """Load nothing: few servers have this tool, and the first call loads what it needs."""


def _result(found: Mapping[str, Any], text: str) -> dict[str, Any]:
    result = {"title": found.get("title"), "url": found.get("url")}
    return result | {"text": _TAGS.sub("", str(found.get(text) or ""))[:_TEXT]}


def _make(_entry: ToolEntry, given: WebSearchEntry, draft: Draft) -> ToolSpec | None:
    engine = ENGINES[given.provider]
    url = given.url or engine.url
    if not url:
        draft.wrong((KEY,), f"{given.provider} needs the key url: that of your own server's search")
        return None
    if given.api_key is not None and not VARIABLE.search(given.api_key):
        draft.wrong((KEY, "api_key"), "this would be stored in clear; write it as ${NAME}")
        return None
    api_key = given.api_key or (f"${{{engine.key}}}" if engine.key else "")
    keys = {"provider": given.provider, "url": url, "api_key": api_key, "count": given.count}
    keys |= {key: value for key, value in given.route(draft).items() if value is not None}
    return ToolSpec(
        _NAME,
        "Search the web. Returns titles, URLs and texts of the best results.",
        _PARAMETERS,
        Effect.READ_ONLY,
        timeout=given.timeout,
        other={KEY: keys},
    )


def _http(spec: ToolSpec) -> HttpCall:
    keys = spec.other[KEY]
    route = {key: keys[key] for key in ("proxy", "ca_file") if key in keys}
    made = ENGINES[keys["provider"]].call(keys["url"], keys["api_key"], keys["count"])
    return replace(made, timeout=spec.timeout, send=(), retries=1, **route)


def _problems(spec: ToolSpec) -> Iterator[Problem]:
    for path, text in http_problems(_http(spec), _PARAMETERS):
        yield Problem(("api_key",) if path[:1] == ("headers",) else path, text)


def _operators_only(spec: ToolSpec) -> Iterator[Problem]:
    for _, text in variable_problems(_http(spec)):
        yield Problem(("api_key",), text)


def _not_ready(spec: ToolSpec, environ: Mapping[str, str]) -> str | None:
    return request_not_ready(_http(spec), environ)


WEB_SEARCH: Final = ToolKind(
    KEY,
    WebSearchEntry,
    _make,
    WebSearchRunner,
    problems=_problems,
    operators_only=_operators_only,
    not_ready=_not_ready,
    own_keys=("parameters", "effect", "timeout"),
)
"""Results of a search engine."""
