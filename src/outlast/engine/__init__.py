"""Who runs a segment, and how: the engine's port, the engine of one process, and the runner."""
