"""Durable state by subject, with one definition of tables and transactions for both databases.

A subject is a module or a small folder: its tables, statements, rows and transactions, and a class
over `Driver` with one method for each transaction. `store.Store` holds them all; `driver` defines
transactions, `sqlite` and `postgres` run them.
"""
