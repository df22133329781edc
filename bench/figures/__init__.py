"""The figures, one module each; a figure takes the lab and gives rows."""
