"""Tables of a day computed from other tables."""
