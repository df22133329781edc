"""Code agents: an operator's function instead of the server's loop."""
