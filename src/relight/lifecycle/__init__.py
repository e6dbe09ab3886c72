"""When an engine starts and stops: pure decisions, and the one owner of engine state."""
