"""Budgets: bounds by owner, and the shares in which they are spent."""
