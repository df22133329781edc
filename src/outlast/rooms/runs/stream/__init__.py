"""A run's stream: `responses` defines where it begins and ends, `formats` its frames."""
