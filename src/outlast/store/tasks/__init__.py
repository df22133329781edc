"""Tasks: their rows, and the processing of due ones."""
