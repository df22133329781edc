"""A setting of another kind than it needs is refused by name, with what was given and no secret."""

from pathlib import Path

import pytest

from outlast.model.error import Misconfigured
from outlast.settings import load


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("port = true", "OUTLAST_PORT: must be a whole number, not true or false."),
        ("port = 83.5", "OUTLAST_PORT: must be a whole number, not a number."),
        ('port = "many"', "OUTLAST_PORT: 'many' is not a whole number."),
        ("host = 5", "OUTLAST_HOST: must be text, not a number."),
        ('api_key = ["s3cret"]', "OUTLAST_API_KEY: must be text, not a list."),
        ('secret_key = {a = "s3cret"}', "OUTLAST_SECRET_KEY: must be text, not an object."),
        ("data_dir = 7", "OUTLAST_DATA_DIR: must be a path, not a number."),
        ("drain_seconds = [1]", "OUTLAST_DRAIN_SECONDS: must be a number, not a list."),
        ("strict_requests = 1", "OUTLAST_STRICT_REQUESTS: must be true or false, not a number."),
    ],
)
def test_a_setting_of_another_kind_is_refused(tmp_path: Path, line: str, message: str) -> None:
    (tmp_path / "outlast.toml").write_text(line)
    with pytest.raises(Misconfigured) as caught:
        load({}, {}, tmp_path)
    assert caught.value.message == message


def test_settings_of_the_right_kind_are_taken(tmp_path: Path) -> None:
    (tmp_path / "outlast.toml").write_text('port = 1\ndrain_seconds = 2\nmax_tries = "3"')
    settings = load({"data_dir": tmp_path}, {"OUTLAST_STRICT_REQUESTS": "yes"}, tmp_path)
    assert (settings.port, settings.drain_seconds, settings.max_tries) == (1, 2.0, 3)
    assert (settings.data_dir, settings.strict_requests) == (tmp_path, True)
