"""Tests of attnbench.compare."""
