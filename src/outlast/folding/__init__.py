"""What the folds of several rooms gather from a log: pure, and without a room's words."""
