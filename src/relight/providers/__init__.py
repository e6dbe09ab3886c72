"""Somebody else's model behind a name of ours: reached, asked again where that is safe, paid for."""
