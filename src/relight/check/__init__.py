"""Whether a server does what coding agents need: short questions, what came, and what that means for whom."""
