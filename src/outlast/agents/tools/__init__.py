"""An agent's tools: their arguments are checked, then they run over HTTP, in Python or built in."""
