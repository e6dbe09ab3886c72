"""Coding agents: what each reads, whether an endpoint does what they need, and a bridge to services that are private."""
