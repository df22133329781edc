"""The Python processes of tests are forks, and in everything that counts like new ones."""

import os
import select
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.python_process import PythonProcess, as_fork

Done = tuple[int, str, str]
"""Exit code, standard output, standard error."""


def run(*command: str, given: str = "", **more: Any) -> Done:
    pipe = subprocess.PIPE
    process = PythonProcess(
        [sys.executable, *command], stdin=pipe, stdout=pipe, stderr=pipe, text=True, **more
    )
    out, err = process.communicate(given)
    return process.returncode, out, err


def test_it_has_arguments_a_folder_variables_and_streams_of_its_own(tmp_path: Path) -> None:
    code = (
        "import os, sys\n"
        "print(sys.argv, os.getcwd(), sys.path[0], os.environ['A'], 'HOME' in os.environ)\n"
        "print(sys.stdin.read(), __name__)\n"
        "print('a word', file=sys.stderr)\n"
    )
    env = {name: value for name, value in os.environ.items() if name != "HOME"} | {"A": "1"}
    done = run("-c", code, "a", "ü", given="in", cwd=tmp_path, env=env)
    assert done == (0, f"['-c', 'a', 'ü'] {tmp_path}  1 False\nin __main__\n", "a word\n")


def test_a_module_is_run_as_by_python(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("import sys\nprint(sys.argv, __name__)\nsys.exit('no')")
    forked = run("-m", "mine", "a", cwd=tmp_path)
    assert forked == (1, f"['{tmp_path / 'mine.py'}', 'a'] __main__\n", "no\n")


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("pass", 0),
        ("import sys; sys.exit(7)", 7),
        ("import sys; sys.exit(-1)", 255),
        ("import sys; sys.exit('no')", 1),
        ("1 / 0", 1),
        ("import os; os._exit(3)", 3),
    ],
)
def test_its_exit_code_is_known_where_it_was_started(code: str, expected: int) -> None:
    assert run("-c", code)[0] == expected


def test_what_is_done_at_exit_is_done() -> None:
    code = "import atexit, threading\natexit.register(print, 'last')\n"
    code += "threading.Thread(target=print, args=('first',)).start()"
    assert run("-c", code) == (0, "first\nlast\n", "")


def test_output_that_cannot_be_written_is_an_error_at_exit() -> None:
    code = "import os, sys; sys.stdout = open(1, 'w'); print('a'); os.close(1)"
    new = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert new.returncode == 120
    assert run("-c", code) == (new.returncode, new.stdout, new.stderr)


def test_it_is_a_child_of_this_process_that_a_signal_ends() -> None:
    process = PythonProcess(
        [sys.executable, "-c", "import os, time; print(os.getppid(), flush=True); time.sleep(99)"],
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        assert int(process.stdout.readline()) == os.getpid()
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL


@pytest.mark.parametrize("handler", [signal.SIG_IGN, signal.default_int_handler])
def test_ctrl_c_does_what_it_does_in_a_new_process(handler: Any) -> None:
    before = signal.signal(signal.SIGINT, handler)
    try:
        _compare_interrupts()
    finally:
        signal.signal(signal.SIGINT, before)


def _compare_interrupts() -> None:
    code = "import signal; print(signal.getsignal(signal.SIGINT))"
    new = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run("-c", code) == (0, new.stdout, "")


def test_no_two_make_the_same_ids() -> None:
    code = "import random, uuid, os\nfrom outlast.model.clock import SystemClock\n"
    code += "print(SystemClock().new_id('x'), uuid.uuid4(), random.random(), os.getpid())"
    codes, outs, _ = zip(*(run("-c", code) for _ in range(3)), strict=True)
    assert codes == (0, 0, 0)
    columns = zip(*(out.split() for out in outs), strict=True)
    assert [len(set(column)) for column in columns] == [3, 3, 3, 3]


def test_outlast_is_there_before_it_is_imported_unless_a_variable_counts_at_the_start() -> None:
    code = "import sys; print('outlast.app' in sys.modules, sys.flags.dev_mode)"
    forked = run("-c", code)
    new = run("-c", code, env={**os.environ, "PYTHONDEVMODE": "1"})
    assert (forked, new) == ((0, "True False\n", ""), (0, "False True\n", ""))


def test_nothing_is_left_of_the_fork_server_when_its_tests_are_killed() -> None:
    code = (
        "import subprocess, sys, time\n"
        "from tests.support.python_process import PythonProcess, _fork_server\n"
        "PythonProcess([sys.executable, '-c', 'pass']).wait()\n"
        "print(_fork_server()._process.pid, flush=True)\n"
        "time.sleep(99)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as tests:
        assert tests.stdout is not None
        server = os.pidfd_open(int(tests.stdout.readline()))
        tests.kill()
    assert select.select([server], [], [], 60)[0]
    os.close(server)


def test_a_script_that_only_a_command_can_start_is_a_fork_too_and_ends_with_it(
    tmp_path: Path,
) -> None:
    script = tmp_path / "mine.py"
    script.write_text(
        "import os, sys\n"
        "print(sys.argv, sys.stdin.readline(), 'outlast.app' in sys.modules, __name__)\n"
        "print(os.getpid(), flush=True)\n"
        "sys.stdin.read()\n"
    )
    (tmp_path / "forks").mkdir()
    for kills in (False, True):
        pipe = subprocess.PIPE
        command = [sys.executable, as_fork(str(script), tmp_path / "forks"), "a"]
        with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, bufsize=1) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write("in\n")
            assert process.stdout.readline() == f"['{script}', 'a'] in\n"
            assert process.stdout.readline() == " True __main__\n"
            forked = os.pidfd_open(int(process.stdout.readline()))
            if kills:
                process.kill()
            else:
                process.stdin.close()
            assert select.select([forked], [], [], 60)[0]
            os.close(forked)
