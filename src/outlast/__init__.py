"""Outlast runs AI agents behind an HTTP API; an execution outlasts whatever happens around it."""
