"""Words around numbers."""


def many(count: int, one: str, more: str) -> str:
    """The count with the noun that it asks for: `many(1, "day", "days")` is "1 day"."""
    return f"{count:,} {one if count == 1 else more}"
