"""Forms, as browsers send them."""

from collections.abc import Sequence
from typing import Final
from urllib.parse import parse_qsl

from outlast.http.call import Call
from outlast.model.error import InvalidRequest

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


async def form_of(call: Call) -> Form:
    """Return the request's form. Raises InvalidRequest, BodyTooLarge."""
    try:
        text = (await call.content()).decode()
        sent = parse_qsl(text, keep_blank_values=True, max_num_fields=_MOST_FIELDS)
    except ValueError as error:
        raise InvalidRequest("The form cannot be read.") from error
    if any("\0" in value for _, value in sent):
        raise InvalidRequest("A text contains a NUL character.")
    return Form([(name, value.replace("\r\n", "\n")) for name, value in sent])
