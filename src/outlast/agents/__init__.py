"""Agents as the engine sees them: a model that streams events, tools that can be called."""
