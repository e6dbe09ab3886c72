"""Benchmarks: start-up, wake and the stream path, each beside what it is compared with."""
