"""`outlast demo`: a built-in agent in a data folder of its own, and the console signed in.

The agent answers from a script, so that it needs no key and no network. A run that a kill has
interrupted goes on at the next start.
"""
