"""Counts with nouns."""


def many(count: int, one: str, more: str) -> str:
    """Return the count with the noun in its singular or plural: `many(1, "day", "days")` is "1 day"."""
    return f"{count:,} {one if count == 1 else more}"
