"""Tests of agreement: bounds, judging, the power of the cases, trials, mutants."""
