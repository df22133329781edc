"""Which process runs a segment: this one, or any worker of a queue."""
