"""The engine of many processes: each segment is a job of the queue, in the executions' database.

`queue` alone uses the library; `engine` decides who runs a segment; `lease` bounds how long this
process may continue without an answer of the database.
"""
