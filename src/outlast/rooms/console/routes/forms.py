"""Forms, as browsers send them."""

from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from typing import Any, Final
from urllib.parse import parse_qsl

import orjson

from outlast.http.call import Call
from outlast.model.budget import MOST_BOUND
from outlast.model.error import InvalidField, InvalidRequest
from outlast.model.whole_number import beyond_64_bits

_MOST_FIELDS: Final = 1000


class Form:
    """The fields of a form; text alone, files are not read."""

    def __init__(self, fields: Sequence[tuple[str, str]]) -> None:
        self.fields = fields

    def get(self, name: str) -> str:
        """Return a field's text; empty if it was not sent."""
        return next((value for field, value in self.fields if field == name), "")

    def all(self, name: str) -> list[str]:
        """Return the texts of a field that is repeated."""
        return [value for field, value in self.fields if field == name]

    def number(self, name: str, word: str, least: int = 0) -> Decimal | None:
        """Return the number of a field, None if it is empty. Raises InvalidField.

        `word` names it to people.
        """
        text = self.get(name).strip()
        if not text:
            return None
        try:
            found = Decimal(text.replace(",", ""))
        except InvalidOperation as error:
            raise InvalidField(f"{word}: this is not a number.", param=word) from error
        if not found.is_finite() or not least <= found <= MOST_BOUND:
            raise InvalidField(f"{word}: a number from {least} to {MOST_BOUND:,}.", param=word)
        return found

    def object(self, name: str, word: str) -> dict[str, Any]:
        """Return the JSON object of a field, {} if it is empty. Raises InvalidField."""
        text = self.get(name).strip()
        try:
            found = orjson.loads(text or "{}")
        except orjson.JSONDecodeError as error:
            raise InvalidField(f"{word}: this is not JSON.", param=word) from error
        if (beyond := beyond_64_bits(text.encode())) is not None:
            said = f"{word}: {beyond.shown} is a whole number beyond 64 bits."
            raise InvalidField(said, param=word)
        if not isinstance(found, dict):
            raise InvalidField(f"{word}: a JSON object.", param=word)
        return found


async def form_of(call: Call) -> Form:
    """Return the request's form. Raises InvalidRequest, BodyTooLarge."""
    try:
        text = (await call.content()).decode()
        sent = parse_qsl(text, keep_blank_values=True, max_num_fields=_MOST_FIELDS)
    except ValueError as error:
        raise InvalidRequest("The form cannot be read.") from error
    if any("\0" in value for _, value in sent):
        raise InvalidRequest("A text contains a NUL character.")
    return Form([(_unix(name), _unix(value)) for name, value in sent])


def _unix(text: str) -> str:
    """Return a text with the line ends that it had in the page."""
    return text.replace("\r\n", "\n")
