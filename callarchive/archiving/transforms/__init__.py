"""A day's tables, computed from other tables."""
