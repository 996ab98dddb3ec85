"""Holds, erasure and retention: what must go, what must not, and how it goes."""
