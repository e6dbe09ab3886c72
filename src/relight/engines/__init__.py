"""Engines: processes that hold weights and answer over HTTP, and the seam they stand behind."""
