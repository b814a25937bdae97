"""Tests of attnbench.report."""
