# Made from outlast_client.asynchronous by tests.support.blocking_client.
"""The blocking client."""
