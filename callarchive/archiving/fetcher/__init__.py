"""Fetch the recordings that 8x8 names: find each one's object, keep its bytes in the archive, or record why not."""
