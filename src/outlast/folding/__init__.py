"""Shared by the folds of several rooms: pure functions of a log, independent of a room."""
