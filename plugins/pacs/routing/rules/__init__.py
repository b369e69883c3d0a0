"""Routing rules: which study goes where and what else is done with it, as a file that people read."""
