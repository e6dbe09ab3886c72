"""Shapes, stream events, keep-alives and error envelopes per dialect; no I/O."""
