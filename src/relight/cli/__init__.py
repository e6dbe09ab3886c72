"""The command line: one thin file a command group; the only place where floors are wired together."""
