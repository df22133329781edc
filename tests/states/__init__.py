"""Every sequence of moves: see `test_states`."""

import pytest

pytest.register_assert_rewrite("tests.states.agreement", "tests.states.town", "tests.states.acts")
