"""The engine of many processes: each segment is a job of the queue, in the executions' database.

`queue` is the one door to the library; `engine` decides by it who runs a segment; `lease` says how
long this process may go on without word from the database.
"""
