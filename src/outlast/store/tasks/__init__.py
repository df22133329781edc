"""Tasks: their rows, and what is done when one is due."""
