"""Schedules and their runs: `rows` the tables, `fire` how a due one runs, `store` all of it."""
