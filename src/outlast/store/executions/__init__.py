"""Executions: their rows, steps and log, and the transactions that move them."""
