"""Background work of the whole fleet, done by the one process that leads.

`leader` says which process that is, `runner` runs the duties there, and each duty has a file of its
own. Leadership only saves work: row locks and compare-and-set ensure that nothing is done twice.
"""
