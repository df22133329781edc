"""The browser that tools drive: its process, its proxy, the context of each execution."""
