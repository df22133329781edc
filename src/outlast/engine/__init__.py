"""Running segments: the engine's port, its implementations, and the runner."""
