"""What the team can look up, and where it publishes."""

SHELVES = {
    "eat": "Otters eat fish, crabs and mussels.",
    "live": "Otters live by rivers, lakes and coasts.",
}
PAGES: dict[str, str] = {}


def search(query: str) -> str:
    """Search the library.

    Args:
        query: Words to look for.
    """
    found = [text for word, text in SHELVES.items() if word in query.lower()]
    return " ".join(found) or "The library has nothing on that."


def publish(title: str, text: str) -> str:
    """Publish a page.

    Args:
        title: Title of the page.
        text: Text of the page.
    """
    PAGES[title] = text
    return f"The page is at https://pages.example/{title.lower()}."
