"""Memory stores: their tables, the writing of items, and the search."""
