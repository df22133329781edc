"""Postgres: what differs from SQLite, and no more.

`driver` runs scripts, `hints` tells other processes of commits, `migrate` brings the schema up.
"""
