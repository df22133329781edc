"""Queries of the console's pages."""
