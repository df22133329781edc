"""Postgres: what differs from SQLite, and no more.

`driver` runs transactions, `hints` notifies other processes of commits, `migrate` brings the
schema up.
"""
