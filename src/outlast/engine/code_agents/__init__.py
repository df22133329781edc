"""Code agents: a function of the operator's instead of the server's loop."""
