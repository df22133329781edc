"""What the words mean: values and rules, no I/O. Everything else in Outlast imports this package."""
