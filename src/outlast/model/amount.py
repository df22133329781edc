"""Numbers with their units, in words."""


def amount(number: float, unit: str) -> str:
    """Return `1 step`, `2 steps`, `0.5 seconds`."""
    return f"{number:.15g} {unit}" if number == 1 else f"{number:.15g} {unit}s"
