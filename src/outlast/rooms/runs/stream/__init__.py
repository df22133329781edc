"""A run's stream: `responses` says where it begins and ends, `formats` what it says."""
