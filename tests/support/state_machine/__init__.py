"""A server that crashes and is started again, every move on it, and whether all rooms agree."""

import pytest

pytest.register_assert_rewrite(
    *(
        f"tests.support.state_machine.{name}"
        for name in ("agreement", "answers", "moves", "reading", "server", "tools")
    )
)
