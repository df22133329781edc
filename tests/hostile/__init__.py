"""Runs under attack: disks that fill and fail, a fleet in chaos, storms of runs and cut streams.

The suite runs each in part; `make hostile` runs them whole.
"""
