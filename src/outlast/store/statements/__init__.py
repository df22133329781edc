"""Statements of the subjects that have no module of their own yet."""
