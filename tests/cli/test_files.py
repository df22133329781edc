"""The limit of open files: raised at the start, reported if low, shared with clients."""

import subprocess
import sys

import pytest

from outlast.cli.files import connections_of
from outlast.http.connections import RESERVE
from outlast.settings import Settings

SHOWN = """
import resource, sys
from outlast.cli.files import connections_of, files, raise_limit
from outlast.settings import Settings
resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[1]), int(sys.argv[2])))
raise_limit()
print(files())
"""


def raised(soft: int, hard: int) -> tuple[int, str]:
    """The limit after a start, and what was said."""
    done = subprocess.run(
        [sys.executable, "-c", SHOWN, str(soft), str(hard)],
        capture_output=True,
        text=True,
        check=True,
    )
    *said, limit = done.stdout.splitlines()
    return int(limit), "\n".join(said) + done.stderr


def test_the_soft_limit_is_raised_to_the_hard_one() -> None:
    assert raised(256, 5000) == (5000, "")
    assert raised(5000, 5000) == (5000, "")


@pytest.mark.parametrize(("soft", "hard"), [(256, 1024), (1024, 1024), (64, 4095)])
def test_a_low_limit_is_reported_with_what_mends_it(soft: int, hard: int) -> None:
    limit, said = raised(soft, hard)
    assert limit == hard
    assert "files.limit_is_low" in said
    assert str(hard) in said
    assert "LimitNOFILE" in said


@pytest.mark.parametrize("limit", [64, 256, 1024, 4096, 20_000, 65_536, 1 << 20])
def test_what_clients_may_have_leaves_files_for_the_rest(limit: int) -> None:
    room = connections_of(Settings(), limit)
    assert room >= 16
    if limit >= 256:
        assert room + RESERVE < limit
        assert room >= min(limit // 4, 16_384)


def test_the_operator_s_own_number_wins_and_is_doubted_where_files_do_not_suffice(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert connections_of(Settings(max_connections=7), 20_000) == 7
    assert connections_of(Settings(max_connections=5000), 1024) == 5000
    assert "OUTLAST_MAX_CONNECTIONS" in capsys.readouterr().out
