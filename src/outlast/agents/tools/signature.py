"""Reads a typed Python function as a tool: description, JSON Schema, and argument binding.

The schema comes from the type hints, by pydantic; descriptions come from the docstring (Google,
NumPy and Sphinx styles). A parameter annotated with ToolContext, in any spelling, gets the context
and is not in the schema.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, cast, get_type_hints

from pydantic import PydanticUserError, TypeAdapter, ValidationError
from pydantic.errors import PydanticSchemaGenerationError
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaWarningKind
from pydantic_core import ArgsKwargs

from outlast.agents.port import ToolContext
from outlast.agents.tools.arguments import invalid_arguments
from outlast.agents.tools.context_hint import is_context
from outlast.model.error import Misconfigured, ToolFailed

MARK: Final = "__outlast_tool__"
"""Attribute of a function with the options of `@tool(…)`."""
_UNNAMED: Final = frozenset(
    {
        inspect.Parameter.VAR_POSITIONAL,
        inspect.Parameter.VAR_KEYWORD,
        inspect.Parameter.POSITIONAL_ONLY,
    }
)


@dataclass(frozen=True, slots=True)
class PythonFunction:
    """A function that agents can call. Two are equal if they wrap the same function."""

    reference: str
    """`module:qualname`, stable across restarts."""
    function: Callable[..., Any]
    description: str
    parameters: dict[str, Any]
    """JSON Schema of the arguments."""
    context_names: tuple[str, ...]
    """Parameters that get the ToolContext."""
    arguments: TypeAdapter[Any]

    def bind(self, arguments: dict[str, Any], context: ToolContext) -> dict[str, Any]:
        """Return JSON arguments as the function's. Raises ToolFailed if they do not fit."""
        try:
            bound: dict[str, Any] = self.arguments.validate_python(ArgsKwargs((), arguments))
        except ValidationError as error:
            raise ToolFailed(invalid_arguments(_problems(error))) from error
        return bound | dict.fromkeys(self.context_names, context)


def read_function(function: Callable[..., Any], reference: str | None = None) -> PythonFunction:
    """Read a function's signature and docstring.

    Raises Misconfigured if it cannot be a tool: a parameter without a type hint or with one that
    JSON cannot represent, `*args`, `**kwargs`, positional-only parameters.
    """
    if not inspect.isroutine(function):
        raise Misconfigured(f"{function!r:.80} is not a function")
    reference = reference or reference_of(function)
    hints = _hints(function, reference)
    signature = inspect.signature(function)
    for parameter in signature.parameters.values():
        _require_usable(parameter, hints, reference)
    names = tuple(
        name
        for name in signature.parameters
        if is_context(hints[name], f"parameter {name} of {reference}")
    )
    taken = [p for p in signature.parameters.values() if p.name not in names]
    adapter, schema = _adapter(signature, taken, hints, reference)
    description = _describe(inspect.getdoc(function) or "", schema)
    return PythonFunction(reference, function, description, schema, names, adapter)


def reference_of(function: Callable[..., Any]) -> str:
    """Return `module:qualname` of a function."""
    return f"{function.__module__}:{function.__qualname__}"


class _Schema(GenerateJsonSchema):
    """Generates JSON Schema without titles, which only repeat the names."""

    ignored_warning_kinds: set[JsonSchemaWarningKind] = {  # noqa: RUF012 - as pydantic declares it
        "skipped-choice",
        "non-serializable-default",
    }

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002 - no title at all
        return False

    def get_title_from_name(self, name: str) -> str:  # noqa: ARG002 - taken out again by `_untitled`
        return ""


def _hints(function: Callable[..., Any], reference: str) -> dict[str, Any]:
    try:
        return get_type_hints(function, include_extras=True)
    except Exception as error:
        # A hint is any expression, so evaluating it can raise anything.
        problem = f"{type(error).__name__}: {error}"
        raise Misconfigured(f"the type hints of {reference} cannot be read: {problem}") from error


def _require_usable(parameter: inspect.Parameter, hints: dict[str, Any], reference: str) -> None:
    if parameter.kind in _UNNAMED:
        problem = f"{reference} takes {parameter}; write out each parameter with its name"
        raise Misconfigured(problem)
    if parameter.name not in hints:
        problem = f"parameter {parameter.name} of {reference} has no type hint; add one"
        raise Misconfigured(problem)


def _adapter(
    signature: inspect.Signature,
    taken: list[inspect.Parameter],
    hints: dict[str, Any],
    reference: str,
) -> tuple[TypeAdapter[Any], dict[str, Any]]:
    """Return a validator that yields keyword arguments, and the schema of its input."""

    def bound(**arguments: Any) -> dict[str, Any]:
        return arguments

    kind = inspect.Parameter.KEYWORD_ONLY
    bound.__annotations__ = {p.name: hints[p.name] for p in taken}
    parameters = [p.replace(kind=kind, annotation=hints[p.name]) for p in taken]
    bound.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=parameters, return_annotation=inspect.Signature.empty
    )
    try:
        adapter: TypeAdapter[Any] = TypeAdapter(cast("Any", bound))
        schema = adapter.json_schema(schema_generator=_Schema)
    except (PydanticUserError, PydanticSchemaGenerationError) as error:
        problem = str(error).partition("\n")[0]
        raise Misconfigured(f"{reference} has a type that JSON cannot carry: {problem}") from error
    return adapter, _object_schema(schema)


def _object_schema(schema: dict[str, Any]) -> dict[str, Any]:
    properties = {name: _untitled(value) for name, value in schema.get("properties", {}).items()}
    whole: dict[str, Any] = {"type": "object", "properties": properties}
    if schema.get("required"):
        whole["required"] = schema["required"]
    whole["additionalProperties"] = False
    if "$defs" in schema:
        whole["$defs"] = {name: _untitled(value) for name, value in schema["$defs"].items()}
    return whole


def _untitled(schema: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in schema.items() if key != "title"}


def _describe(text: str, schema: dict[str, Any]) -> str:
    """Write the docstring's parameter descriptions into the schema; return the function's own."""
    import docstring_parser

    try:
        doc = docstring_parser.parse(text)
    except docstring_parser.ParseError:
        return text
    for parameter in doc.params:
        known = schema["properties"].get(parameter.arg_name)
        if known is not None and parameter.description:
            known.setdefault("description", " ".join(parameter.description.split()))
    return (doc.description or "").strip()


def _problems(error: ValidationError) -> list[str]:
    details = error.errors(include_url=False, include_context=False, include_input=False)
    return [
        f"{'.'.join(map(str, e['loc']))}: {e['msg']}" if e["loc"] else e["msg"] for e in details
    ]
