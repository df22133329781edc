"""One segment: its runner, its steps, its writes and its limits."""
