"""Durable state by subject: one definition of tables and transactions for every database.

A subject is a module or a small folder: its tables, statements, rows and transactions, and a class
over `Driver` with one method for each transaction. `store.Store` holds them all; `driver` says what
a transaction is, and `sqlite` and `postgres` run it.
"""
