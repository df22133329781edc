"""Every kind of model behind the one port."""
