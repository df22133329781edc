"""YAML with the line of every key, and without implicit types.

Of YAML 1.1's implicit types only JSON's stay: `no` and `2026-03-15` are strings, a key is a string,
and a duplicate key is an error.
"""

import json
import re
from dataclasses import dataclass
from typing import Any

import yaml

from outlast.agents.problem import HALF_A_PAIR, Path
from outlast.model.error import Misconfigured


@dataclass(frozen=True, slots=True)
class Document:
    """A file's value, and the line (from 1) of each key and item."""

    value: Any
    lines: dict[Path, int]

    def line(self, path: Path) -> int | None:
        """Return the line of a path, or of the nearest enclosing value."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path)


class _Loader(yaml.SafeLoader):
    """Reads only JSON's types."""


_Loader.yaml_implicit_resolvers = {}
_Loader.add_implicit_resolver("tag:yaml.org,2002:null", re.compile(r"(~|null|)$"), ["~", "n", ""])
_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"(true|false)$"), ["t", "f"])
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:int", re.compile(r"[-+]?(0|[1-9][0-9]*)$"), list("-+0123456789")
)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?(0|[1-9][0-9]*)(\.[0-9]*([eE][-+]?[0-9]+)?|[eE][-+]?[0-9]+)$"),
    list("-+0123456789"),
)
_Loader.add_implicit_resolver("tag:yaml.org,2002:merge", re.compile(r"<<$"), ["<"])


def read_yaml(text: str, file: str) -> Document:
    """Read one YAML document. Raises Misconfigured with file and line."""
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            raise Misconfigured(f"{file}: the file is empty; it begins with agents:")
        lines: dict[Path, int] = {}
        _walk(node, (), lines, [], file)
        return Document(loader.construct_document(node), lines)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f":{mark.line + 1}" if mark else ""
        raise Misconfigured(f"{file}{line}: not YAML: {error.problem or error.context}") from error
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise Misconfigured(f"{file}: not YAML: {error}") from error
    finally:
        loader.dispose()


def read_json(text: str, file: str) -> Document:
    """Read one JSON document. Raises Misconfigured with file and line.

    JSON without tabs between its values is YAML, which gives the lines.
    """
    try:
        value = json.loads(text.removeprefix("\ufeff"), parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        raise Misconfigured(f"{file}:{error.lineno}: not JSON: {error.msg}") from error
    except RecursionError as error:
        raise Misconfigured(f"{file}: not JSON: nested too deeply") from error
    except ValueError as error:
        raise Misconfigured(f"{file}: not JSON: {error}") from error
    return Document(value, read_yaml(text.removeprefix("\ufeff").replace("\t", " "), file).lines)


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number of JSON")


def _walk(
    node: yaml.Node, path: Path, lines: dict[Path, int], above: list[yaml.Node], file: str
) -> None:
    """Note every line, and refuse what JSON cannot express."""
    lines.setdefault(path, node.start_mark.line + 1)
    if any(node is outer for outer in above):
        raise Misconfigured(f"{file}:{node.start_mark.line + 1}: a value contains itself")
    above.append(node)
    if isinstance(node, yaml.ScalarNode):
        node.value = _paired(node, file)
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            _walk(item, (*path, index), lines, above, file)
    elif isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            below = (*path, _key(key, path, lines, file))
            lines[below] = key.start_mark.line + 1
            _walk(value, below, lines, above, file)
    above.pop()


def _paired(node: yaml.ScalarNode, file: str) -> str:
    """Return the text with surrogate pairs as their characters.

    Raises Misconfigured for a lone surrogate.
    """
    text: str = node.value
    if text.isascii():
        return text
    try:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le")
    except UnicodeDecodeError as error:
        raise Misconfigured(f"{file}:{node.start_mark.line + 1}: {HALF_A_PAIR}") from error


def _key(key: yaml.Node, path: Path, lines: dict[Path, int], file: str) -> str:
    line = key.start_mark.line + 1
    if isinstance(key, yaml.ScalarNode):
        key.value = _paired(key, file)
    if key.tag not in {"tag:yaml.org,2002:str", "tag:yaml.org,2002:merge"}:
        raise Misconfigured(f'{file}:{line}: a key must be text; write it in quotes: "{key.value}"')
    if (*path, key.value) in lines:
        first = lines[*path, key.value]
        raise Misconfigured(
            f"{file}:{line}: the key {key.value} is written twice, see line {first}"
        )
    return str(key.value)
