"""Counts with nouns, and sizes and durations with units."""


def many(count: int, one: str, more: str) -> str:
    """Return the count with the noun in its singular or plural: `many(1, "day", "days")` is "1 day"."""
    return f"{count:,} {one if count == 1 else more}"


def size_text(size_bytes: int) -> str:
    """Return the size in decimal units, as disks and object stores count: `size_text(1_234_000_000)` is "1.2 GB"."""
    size, units = float(size_bytes), ["bytes", "kB", "MB", "GB", "TB", "PB"]
    while size >= 999.95 and len(units) > 1:
        size, units = size / 1000, units[1:]
    return many(size_bytes, "byte", "bytes") if units[0] == "bytes" else f"{size:.1f} {units[0]}"


def duration_text(seconds: float) -> str:
    """Return the duration for people: `duration_text(247)` is "4 min 07 s"."""
    whole = round(seconds)
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    if hours:
        return f"{hours:,} h {minutes:02} min"
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"
