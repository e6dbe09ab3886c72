"""Prefix snapshots: which fits a request, where it lies, how it is made."""
