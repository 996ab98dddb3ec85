"""Value types and rules that do no I/O."""
