"""The interaction record, where it goes, and the metrics drawn from it."""
