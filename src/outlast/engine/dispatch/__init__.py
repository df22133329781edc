"""Which process runs a segment: in this one, or any worker of a queue."""
