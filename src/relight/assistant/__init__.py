"""What the assistant knows of modes, prompts and knowledge; no HTTP."""
