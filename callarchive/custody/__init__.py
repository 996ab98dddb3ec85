"""What must stay and what must not return: holds, and the register of what was erased. Both are in the archive's store."""
