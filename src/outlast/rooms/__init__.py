"""API surfaces over one core: each room speaks one contract, and none knows another."""
