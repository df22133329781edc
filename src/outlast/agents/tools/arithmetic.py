"""Evaluates arithmetic by walking its syntax tree: numbers, operators and a few functions.

Every intermediate value is bounded, so no expression blocks the server.
"""

import ast
import math
import operator
from collections.abc import Callable
from typing import Any, Final

from outlast.model.error import ToolFailed

_LONGEST: Final = 500
_MOST_BITS: Final = 4096
_EXACT: Final = 2**53
"""Larger integers lose digits in JSON readers that use doubles (RFC 8259, 6)."""

_MOST_DIGITS: Final = 100


def _round(number: float, digits: int = 0) -> int | float:
    """Like Python's `round`; digits are bounded, as it computes their power of ten."""
    if abs(digits) > _MOST_DIGITS:
        raise OverflowError
    return round(number, digits) if digits else round(number)


_OPERATORS: Final[dict[type[ast.AST], Callable[..., Any]]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.UAdd: operator.pos,
    ast.USub: operator.neg,
}
_FUNCTIONS: Final[dict[str, Callable[..., Any]]] = {
    "abs": abs,
    "ceil": math.ceil,
    "cos": math.cos,
    "exp": math.exp,
    "floor": math.floor,
    "log": math.log,
    "log10": math.log10,
    "max": max,
    "min": min,
    "round": _round,
    "sin": math.sin,
    "sqrt": math.sqrt,
    "tan": math.tan,
}
_CONSTANTS: Final = {"e": math.e, "pi": math.pi}

KNOWN: Final = ", ".join(sorted(_FUNCTIONS))


def calculate(expression: str) -> int | float | str:
    """Return the value of an expression: a number, or an integer beyond 2^53 as a string of digits.

    Floats are rounded to 15 significant digits. Raises ToolFailed with the reason.
    """
    if len(expression) > _LONGEST:
        raise ToolFailed(f"The expression is longer than {_LONGEST} characters.")
    try:
        tree = ast.parse(expression.strip(), mode="eval")
        value = _value(tree.body)
    except (SyntaxError, MemoryError, RecursionError) as error:
        raise ToolFailed(f"{expression!r} is not an arithmetic expression.") from error
    except ZeroDivisionError as error:
        raise ToolFailed("Division by zero.") from error
    except OverflowError as error:
        raise ToolFailed("The result is too large.") from error
    except (ValueError, TypeError) as error:
        raise ToolFailed(f"The expression has no value: {error}.") from error
    return _written(value)


def _value(node: ast.expr) -> int | float:
    match node:
        case ast.Constant(value=bool()):
            raise ToolFailed("True and False are not numbers.")
        case ast.Constant(value=int() | float() as number):
            return _bounded(number)
        case ast.BinOp(left=left, op=ast.Pow(), right=right):
            return _bounded(_power(_value(left), _value(right)))
        case ast.BinOp(op=ast.BitXor()):
            raise ToolFailed("Write a power as **, not ^.")
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
            return _bounded(_OPERATORS[type(op)](_value(left), _value(right)))
        case ast.UnaryOp(op=op, operand=operand) if type(op) in _OPERATORS:
            return _bounded(_OPERATORS[type(op)](_value(operand)))
        case ast.Call(func=ast.Name(id=name), args=args, keywords=[]) if name in _FUNCTIONS:
            return _bounded(_FUNCTIONS[name](*map(_value, args)))
        case ast.Name(id=name) if name in _CONSTANTS:
            return _CONSTANTS[name]
        case ast.Tuple():
            raise ToolFailed("Write numbers without separators between thousands: 1000, not 1,000.")
        case _:
            raise ToolFailed(
                f"{ast.unparse(node)!r} is not known. There are numbers, "
                f"+ - * / // % **, parentheses, pi, e, and the functions {KNOWN}."
            )


def _power(base: float, exponent: float) -> Any:
    """Return a power of integers; too large a result is refused before it is computed."""
    exact = isinstance(base, int) and isinstance(exponent, int) and abs(base) > 1
    if exact and int(base).bit_length() * exponent > 2 * _MOST_BITS:
        raise OverflowError
    return base**exponent


def _bounded(value: Any) -> int | float:
    if isinstance(value, complex):
        raise ToolFailed("The result is not a real number.")
    if isinstance(value, int):
        if value.bit_length() > _MOST_BITS:
            raise OverflowError
        return value
    if not isinstance(value, float) or not math.isfinite(value):
        raise OverflowError
    return value


def _written(value: float) -> int | float | str:
    if isinstance(value, int):
        return value if abs(value) <= _EXACT else str(value)
    return float(f"{value:.15g}")
