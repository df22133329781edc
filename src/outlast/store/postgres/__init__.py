"""Postgres: what differs from SQLite, and no more.

`driver` runs transactions, `notifications` notifies other processes of commits, `migrate`
brings the schema up.
"""
