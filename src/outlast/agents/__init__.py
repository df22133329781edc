"""Agents as the engine uses them: a model that streams its answer, and tools."""
