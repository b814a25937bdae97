"""Tests of attnbench.results."""
