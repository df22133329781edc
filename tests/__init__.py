"""Tests, and what they share.

A process that may not write bytecode compiles a thousand modules whenever it starts, which takes it
two seconds. The tests start hundreds of processes, so these write it, whatever the shell says.
"""

import os
import sys

os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
