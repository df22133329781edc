"""Waits: their rows, and the transactions that request and decide them."""
