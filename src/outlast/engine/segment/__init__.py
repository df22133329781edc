"""One segment: its runner, its steps, what it writes and what bounds it."""
