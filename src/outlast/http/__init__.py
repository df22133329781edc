"""Manners that all rooms share: errors, bodies, who asks, streams. No room's own words."""
