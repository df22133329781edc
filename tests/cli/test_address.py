"""Where a server listens, as its data folder says."""

from pathlib import Path

from outlast.cli.address import kept_address, url_of
from outlast.settings import Settings


def test_an_address_that_cannot_be_written_does_not_stop_the_server(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    usual = url_of(settings)
    (tmp_path / "address").mkdir()
    with kept_address(settings, "127.0.0.1", 9000):
        assert url_of(settings) == usual
    (tmp_path / "address").rmdir()
    with kept_address(settings, "::", 9000):
        assert url_of(settings) == "http://[::1]:9000"
    assert url_of(settings) == usual
