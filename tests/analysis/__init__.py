"""Tests of attnbench.analysis."""
