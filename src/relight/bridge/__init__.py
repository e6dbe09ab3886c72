"""A door on this machine: to a private service elsewhere, or to nobody, when an agent's first question is only taken down."""
