"""What the words mean: values and rules, no I/O. Everything else imports this package."""
