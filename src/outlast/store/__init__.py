"""Durable state: one definition of tables, statements and transactions for every database.

schema → statements → scripts (transactions without I/O) → store (the port's verbs) → a driver that
runs the scripts: sqlite here, Postgres beside it.
"""
