"""A server that dies and comes back, every move on it, and whether all rooms agree."""
