"""Renders values for pages: view models, templates, files."""
