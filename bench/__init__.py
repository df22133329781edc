"""Figures of Outlast as ratios against baselines that are measured in the same run.

`python -m bench` starts a fake provider, a tool server, the server under test and the baselines,
each in a process of its own; the process itself is the load generator. It prints one table.
"""
