"""Embedding models: vectors of texts, by a provider's endpoint or on this machine."""
