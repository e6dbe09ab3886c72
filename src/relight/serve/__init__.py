"""The front door: routes and middleware."""
