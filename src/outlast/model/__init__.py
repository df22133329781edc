"""Values and rules of the domain, no I/O. Everything else imports this package."""
