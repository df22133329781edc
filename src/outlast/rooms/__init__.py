"""API surfaces over one core: each room implements one contract, independent of the others."""
