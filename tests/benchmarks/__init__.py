"""Benchmarks of the harness itself: they look at the clock, so they are run by hand on a quiet machine."""
