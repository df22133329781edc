"""Validates a tool's arguments against its JSON Schema.

A schema is compiled once and cached. `$ref` is resolved inside the schema only: nothing is read
from the network or a file.
"""

from collections import OrderedDict
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

import orjson

from outlast.agents.tools.plain_schema import is_plain
from outlast.model.error import InvalidArguments, ToolFailed

if TYPE_CHECKING:
    import jsonschema_rs

_KEPT: Final = 1024
"""Maximum compiled schemas; the least recently used is dropped first."""
_SHOWN: Final = 5
_LONGEST: Final = 300


class InvalidSchema(ValueError):
    """This is not a JSON Schema."""


class Arguments:
    """Validates arguments, and caches a compiled validator per schema."""

    def __init__(self) -> None:
        self._validators: OrderedDict[bytes, jsonschema_rs.Validator] = OrderedDict()

    def check(self, schema: dict[str, Any], arguments: dict[str, Any]) -> None:
        """Raise ToolFailed for invalid arguments, with each path and what is expected."""
        validator = self._validator(schema)
        if validator.is_valid(arguments):
            return
        errors = islice(validator.iter_errors(arguments), _SHOWN)
        raise ToolFailed(
            invalid_arguments(_problem(error) for error in errors),
            cause="The arguments do not fit the tool's schema.",
        )

    def check_edited(self, schema: dict[str, Any], arguments: dict[str, Any]) -> None:
        """Raise InvalidArguments for a person's invalid arguments, naming the first path."""
        try:
            validator = self._validator(schema)
        except ToolFailed as error:
            raise InvalidArguments(error.message, param="parameters") from error
        for problem in validator.iter_errors(arguments):
            param = ".".join(("parameters", *(str(key) for key in problem.instance_path)))
            raise InvalidArguments(f"{param}: {_short(problem.message)}", param=param)

    def _validator(self, schema: dict[str, Any]) -> "jsonschema_rs.Validator":
        key = orjson.dumps(schema)
        validator = self._validators.get(key)
        if validator is None:
            validator = self._validators[key] = _compile_or_fail(schema)
            if len(self._validators) > _KEPT:
                self._validators.popitem(last=False)
        self._validators.move_to_end(key)
        return validator


def check_schema(schema: dict[str, Any]) -> None:
    """Raise InvalidSchema, with the path, for what is not a JSON Schema."""
    if not is_plain(schema):
        compile_schema(schema)


def compile_schema(schema: dict[str, Any]) -> "jsonschema_rs.Validator":
    """Compile a JSON Schema, draft 2020-12 if it names none.

    Raises InvalidSchema with the path.
    """
    import jsonschema_rs  # 7 MiB, for those who call tools with schemas

    try:
        return jsonschema_rs.validator_for(schema, retriever=_refuse)
    except jsonschema_rs.ValidationError as error:
        raise InvalidSchema(_problem(error)) from error
    except (jsonschema_rs.ReferencingError, ValueError, TypeError, RecursionError) as error:
        raise InvalidSchema(_short(str(error))) from error


def invalid_arguments(problems: Any) -> str:
    """Return the text that tells a model what to correct, from one line per problem."""
    lines = "".join(f"\n- {problem}" for problem in problems)
    return f"The arguments are not valid; correct them and call again:{lines}"


def _compile_or_fail(schema: dict[str, Any]) -> "jsonschema_rs.Validator":
    try:
        return compile_schema(schema)
    except InvalidSchema as error:
        raise ToolFailed(f"The tool's own JSON Schema is not valid: {error}") from error


def _problem(error: "jsonschema_rs.ValidationError") -> str:
    where = ".".join(str(key) for key in error.instance_path)
    message = _short(error.message.partition("\n")[0])
    return f"{where}: {message}" if where else message


def _short(text: str) -> str:
    text = text.strip().partition("\n")[0]
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "…"


def _refuse(uri: str) -> Any:
    raise ValueError(f"only references inside the schema are resolved, not {uri}")
