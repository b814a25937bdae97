"""Tests of attnbench.crossover."""
