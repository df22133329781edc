"""Optional dependencies of the package, by the extra that brings them."""


def install(extra: str) -> str:
    """Return how to install an extra, for an error or a remedy."""
    return f"pip install '.[{extra}]' in a checkout of Outlast"
